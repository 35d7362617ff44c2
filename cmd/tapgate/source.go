package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"

	"tapgate/client"
	"tapgate/internal/policy"
	"tapgate/internal/store"
	"tapgate/nwfilter"
)

const standardInput = "-"

// read reads a file, or the standard input for "-".
func (t *tool) read(path string) ([]byte, error) {
	if path == standardInput {
		text, err := io.ReadAll(io.LimitReader(t.stdin, nwfilter.MaxDocument+1))
		if err != nil {
			return nil, fmt.Errorf("cannot read the standard input: %w", err)
		}
		return text, nil
	}
	text, err := readBounded(path)
	var fault *fs.PathError
	if errors.As(err, &fault) {
		return nil, fmt.Errorf("cannot read %s: %w", path, fault.Err)
	}
	return text, err
}

// readBounded reads no more than shows that a document is too long.
func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, nwfilter.MaxDocument+1))
}

// fileName is what positions call a file.
func fileName(path string) string {
	if path == standardInput {
		return "(standard input)"
	}
	return path
}

// readFilter reads a filter from a file. Warnings are printed.
func (t *tool) readFilter(path string, lenient bool) (*store.Filter, error) {
	text, err := t.read(path)
	if err != nil {
		return nil, err
	}
	f, diagnostics := store.ParseFilter(text, fileName(path), lenient)
	if f == nil {
		return nil, diagnostics.Errors()
	}
	t.warn(diagnostics.Warnings())
	if path == standardInput {
		f.File = "" // once stored, its own file is where the lines are
	}
	return f, nil
}

func (t *tool) warn(list nwfilter.Diagnostics) {
	for _, d := range list {
		fmt.Fprintln(t.stderr, d)
	}
}

// looksLikeFile tells a file from the name of a filter.
func looksLikeFile(arg string) bool {
	return arg == standardInput || strings.Contains(arg, "/") || strings.HasSuffix(arg, ".xml")
}

// resolver works filters out from what is stored and, before that, a filter from a
// file.
type resolver struct {
	ctx context.Context
	ask *client.Client
	own *store.Filter
	// stored are the filters that were asked for, nil for those that there are not.
	stored map[string]*nwfilter.Filter
	// fault is why the first filter could not be read that is there.
	fault error
}

func newResolver(ctx context.Context, ask *client.Client) *resolver {
	return &resolver{ctx: ctx, ask: ask, stored: map[string]*nwfilter.Filter{}}
}

// resolver is one that asks whom the command asks.
func (t *tool) resolver(ctx context.Context) (*resolver, error) {
	ask, err := t.client(ctx)
	if err != nil {
		return nil, err
	}
	return newResolver(ctx, ask), nil
}

// find sets the filter that NAME|FILE stands for, and returns its name.
func (r *resolver) find(t *tool, arg string, lenient bool) (string, error) {
	if !looksLikeFile(arg) {
		_, err := r.filter(arg)
		if err == nil || !client.IsNotFound(err) {
			return arg, err
		}
		if _, missing := os.Stat(arg); missing != nil {
			return "", err
		}
	}
	var err error
	if r.own, err = t.readFilter(arg, lenient); err != nil {
		return "", err
	}
	return r.own.Name, nil
}

// filter is a stored or built-in filter.
func (r *resolver) filter(name string) (*nwfilter.Filter, error) {
	f, err := r.ask.Filter(r.ctx, name)
	if err != nil {
		return nil, err
	}
	parsed, diagnostics := store.ParseFilter([]byte(f.Source), f.File, f.Lenient || f.BuiltIn)
	if parsed == nil {
		return nil, fmt.Errorf("the stored filter %q cannot be read: %w", name, diagnostics.Errors()[:1])
	}
	r.stored[name] = parsed.Filter
	return parsed.Filter, nil
}

func (r *resolver) lookup(name string) *nwfilter.Filter {
	if r.own != nil && r.own.Name == name {
		return r.own.Filter
	}
	if f, known := r.stored[name]; known {
		return f
	}
	f, err := r.filter(name)
	if err != nil {
		r.stored[name] = nil
		if r.fault == nil && !client.IsNotFound(err) {
			r.fault = err
		}
		return nil
	}
	return f
}

func (r *resolver) policy(name string, mac net.HardwareAddr, params []nwfilter.Parameter) (*policy.Policy, error) {
	p, err := policy.Resolve(name, mac, params, r.lookup)
	if err != nil && r.fault != nil {
		return nil, r.fault
	}
	return p, err
}
