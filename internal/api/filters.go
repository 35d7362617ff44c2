package api

import (
	"tapgate/internal/agent"
	"tapgate/internal/store"
	"tapgate/nwfilter"
)

func (c *call) filters() (any, error) {
	if err := c.takes(); err != nil {
		return nil, err
	}
	list, faults, err := c.service.Filters(c.r.Context())
	return struct {
		Filters []agent.FilterInfo `json:"filters"`
		Faults  []string           `json:"faults,omitempty"`
	}{listed(list), sentences(faults)}, err
}

func (c *call) filter() (any, error) {
	if err := c.takes("revision"); err != nil {
		return nil, err
	}
	name, err := c.name("filter")
	if err != nil {
		return nil, err
	}
	revision, err := c.parameter("revision")
	if err != nil {
		return nil, err
	}
	return c.service.Filter(c.r.Context(), name, revision)
}

func (c *call) revisions() (any, error) {
	if err := c.takes(); err != nil {
		return nil, err
	}
	name, err := c.name("filter")
	if err != nil {
		return nil, err
	}
	list, err := c.service.Revisions(c.r.Context(), name)
	return struct {
		Revisions []store.Revision `json:"revisions"`
	}{listed(list)}, err
}

// checkDocument refuses what no reader would take, before anybody copies it.
func checkDocument(d *agent.Document) error {
	if len(d.Source) > nwfilter.MaxDocument {
		return invalidf("the document has %d bytes: at most %d are read", len(d.Source), nwfilter.MaxDocument)
	}
	return nil
}

func (c *call) define() (any, error) {
	if err := c.takesQuery("dry_run"); err != nil {
		return nil, err
	}
	dryRun, err := c.flag("dry_run", false)
	if err != nil {
		return nil, err
	}
	var d agent.Document
	if err := c.body(&d, maxDocument); err != nil {
		return nil, err
	}
	if err := checkDocument(&d); err != nil {
		return nil, err
	}
	by, err := c.by()
	if err != nil {
		return nil, err
	}
	return c.service.Define(c.r.Context(), by, d, dryRun)
}

func (c *call) undefine() (any, error) {
	if err := c.takes("force"); err != nil {
		return nil, err
	}
	name, err := c.name("filter")
	if err != nil {
		return nil, err
	}
	force, err := c.flag("force", false)
	if err != nil {
		return nil, err
	}
	by, err := c.by()
	if err != nil {
		return nil, err
	}
	return c.service.Undefine(c.r.Context(), by, name, force)
}

func (c *call) rollback() (any, error) {
	if err := c.takes("to", "dry_run"); err != nil {
		return nil, err
	}
	name, err := c.name("filter")
	if err != nil {
		return nil, err
	}
	to, err := c.parameter("to")
	if err != nil {
		return nil, err
	}
	dryRun, err := c.flag("dry_run", false)
	if err != nil {
		return nil, err
	}
	by, err := c.by()
	if err != nil {
		return nil, err
	}
	return c.service.Rollback(c.r.Context(), by, name, to, dryRun)
}
