package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"tapgate/internal/datapath"
	"tapgate/internal/policy"
	"tapgate/internal/policytest"
	"tapgate/nwfilter/builtin"
)

func newTestCommand(t *tool) *cobra.Command {
	var engine string
	var asJSON bool
	c := &cobra.Command{
		Use:   "test PATH…",
		Short: "Run policy tests",
		Long: `Runs policy tests: files, .json or .json.gz, that hold filters, a binding and frames
with the verdict they must get; or folders of such files. The format is described in
docs/policy-tests.md.

Two engines can decide: "eval", the evaluator in Go that "tapgate explain" uses, and
"ebpf", the program that guards ports, run by the kernel on the frames without any
device. "both" asks both, and they must agree. "ebpf" and "both" need root.

Each packet that fails is printed with what the engines say. The last line counts
packets; the line before it counts those whose recorded verdict a documented
difference to libvirt explains, by the difference's id. The exit code is 1 if a
packet failed.`,
		Example: `  tapgate test --engine eval my-tests
  tapgate test my-tests/web-server.json`,
		Args: arguments(1, -1, "a file or folder"),
		RunE: func(c *cobra.Command, args []string) error {
			chosen, err := policytest.ParseEngine(engine)
			if err != nil {
				return usageError{err}
			}
			if chosen != policytest.Eval {
				if err := programsLoad(); err != nil {
					return fmt.Errorf("the engine %s cannot be used: %w; --engine eval can", engine, err)
				}
			}
			return t.test(c, args, chosen, asJSON)
		},
	}
	c.Flags().StringVar(&engine, "engine", string(policytest.Both), "who decides: `eval`, ebpf or both")
	jsonFlag(c, &asJSON)
	must(c.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions([]string{"eval", "ebpf", "both"}, cobra.ShellCompDirectiveNoFileComp)))
	return c
}

// programsLoad tries a small program, so that what is missing is said once.
func programsLoad() error {
	p, err := policy.Resolve("no-other-l2-traffic", placeholderMAC, nil, builtin.Get)
	if err != nil {
		return err
	}
	tester, err := datapath.NewTester(p, datapath.Config{})
	if errors.Is(err, fs.ErrPermission) {
		return datapath.ErrNeedsRoot
	}
	if err != nil {
		return err
	}
	tester.Close()
	return nil
}

type testResult struct {
	policytest.Summary
	KnownTotal int                  `json:"known_total"`
	Failures   []policytest.Failure `json:"failures"`
}

func (t *tool) test(c *cobra.Command, paths []string, engine policytest.Engine, asJSON bool) error {
	result := testResult{Failures: []policytest.Failure{}}
	progress := t.newProgress()
	summary, err := policytest.Run(c.Context(), paths, policytest.Options{
		Engine: engine,
		Done: func(r *policytest.FileResult) {
			progress.clear()
			result.Failures = append(result.Failures, r.Failures...)
			if !asJSON {
				for _, f := range r.Failures {
					fmt.Fprintln(t.stdout, f)
				}
			}
			progress.step(r)
		},
	})
	progress.clear()
	var fault *fs.PathError
	if errors.As(err, &fault) {
		return fmt.Errorf("cannot read %s: %w", fault.Path, fault.Err)
	}
	if err != nil {
		return err
	}
	if asJSON {
		result.Summary, result.KnownTotal = summary, summary.KnownTotal()
		err = t.printJSON(result)
	} else {
		t.printSummary(&summary)
	}
	if err != nil {
		return err
	}
	if summary.Failed > 0 || len(result.Failures) > 0 {
		return errFaults
	}
	return nil
}

func (t *tool) printSummary(s *policytest.Summary) {
	for _, reason := range slices.Sorted(maps.Keys(s.SkippedFor)) {
		fmt.Fprintf(t.stdout, "%s skipped: %s\n", plural(s.SkippedFor[reason], "file"), reason)
	}
	fmt.Fprintln(t.stdout, s)
}

// progress is a line on a terminal that is written over and over.
type progress struct {
	*tool
	terminal        bool
	files, failures int
}

func (t *tool) newProgress() *progress {
	p := &progress{tool: t}
	if file, ok := t.stderr.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) step(r *policytest.FileResult) {
	p.files++
	p.failures += r.Failed
	p.show("%s, %d failed …", plural(p.files, "file"), p.failures)
}

// show writes the line, which must be clear.
func (p *progress) show(format string, args ...any) {
	if p.terminal {
		fmt.Fprintf(p.stderr, format, args...)
	}
}

// clear removes the line (ECMA-48: carriage return, erase line).
func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(p.stderr, "\r\x1b[K")
	}
}
