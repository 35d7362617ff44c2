package api

import (
	"strings"

	"tapgate/internal/settings"
)

func (c *call) settings() (any, error) {
	if err := c.takes(); err != nil {
		return nil, err
	}
	port, err := c.name("port")
	if err != nil {
		return nil, err
	}
	values, err := c.service.Settings(c.r.Context(), port)
	return struct {
		Settings settings.Values `json:"settings"`
	}{listed(values)}, err
}

// assignmentJSON is NAME=VALUE,… in JSON.
type assignmentJSON struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

// set changes the settings of the port that the path names, or the host's.
func (c *call) set() (any, error) {
	if err := c.takesQuery(); err != nil {
		return nil, err
	}
	port, err := c.name("port")
	if err != nil {
		return nil, err
	}
	var body struct {
		Assignments []assignmentJSON `json:"assignments"`
	}
	if err := c.body(&body, maxBody); err != nil {
		return nil, err
	}
	var list []settings.Assignment
	for _, a := range body.Assignments {
		one, err := settings.ParseAssignment(a.Name + "=" + strings.Join(a.Values, ","))
		if err != nil {
			return nil, invalidf("%s", err)
		}
		list = append(list, one)
	}
	if len(list) == 0 {
		return nil, invalidf("nothing is set: \"assignments\" is empty")
	}
	by, err := c.by()
	if err != nil {
		return nil, err
	}
	return c.service.Set(c.r.Context(), by, port, list)
}
