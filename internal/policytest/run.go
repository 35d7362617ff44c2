package policytest

import (
	"context"
	"runtime"
	"sync"
)

// Options choose how tests run.
type Options struct {
	// Engine decides the packets; empty means Both.
	Engine Engine
	// Workers is the number of files that run at once; 0 means GOMAXPROCS.
	Workers int
	// Done, if set, is called for each file in the order of Find, from one
	// goroutine, as soon as it and all before it have run.
	Done func(*FileResult)
}

// Run runs the tests among paths. The error says what could not be read;
// failing tests are no error but counted in the summary.
func Run(ctx context.Context, paths []string, options Options) (Summary, error) {
	var total Summary
	files, err := Find(paths...)
	if err != nil {
		return total, err
	}
	if options.Engine == "" {
		options.Engine = Both
	}
	if options.Workers < 1 {
		options.Workers = runtime.GOMAXPROCS(0)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for r := range inOrder(ctx, files, options) {
		if r.err != nil {
			return total, r.err
		}
		total.add(&r.Summary)
		if options.Done != nil {
			options.Done(r.FileResult)
		}
	}
	return total, ctx.Err()
}

type loaded struct {
	*FileResult
	err error
}

// inOrder runs as many files at once as there are workers and hands the
// results on in the order of the files.
func inOrder(ctx context.Context, files []string, options Options) <-chan loaded {
	pending := make(chan chan loaded, options.Workers-1)
	ordered := make(chan loaded)
	go func() {
		defer close(pending)
		var workers sync.WaitGroup
		defer workers.Wait()
		for _, path := range files {
			result := make(chan loaded, 1)
			select {
			case pending <- result:
			case <-ctx.Done():
				return
			}
			workers.Go(func() { result <- runPath(path, options.Engine) })
		}
	}()
	go func() {
		defer close(ordered)
		for result := range pending {
			select {
			case ordered <- <-result:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ordered
}

func runPath(path string, engine Engine) loaded {
	t, err := Load(path)
	if err != nil {
		return loaded{err: err}
	}
	return loaded{FileResult: RunFile(t, engine)}
}
