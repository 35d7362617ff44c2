package datapath

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sync/errgroup"

	"tapgate/internal/compile"
	"tapgate/internal/conntrack"
	"tapgate/internal/datapath/skeleton"
)

const (
	// skeletonsMap has the skeleton's steps, by variant (handover.h).
	skeletonsMap = "skeletons"
	configsMap   = "configs"
	portsMap     = "ports"
)

// skeletonMaps are common to all generations of one skeleton.
var skeletonMaps = []string{"scratch", skeletonsMap, configsMap, automataMap, "readings", "limiting", "test", observedMap, "observation"}

// automataMap holds the helpers' grammars.
const automataMap = "automata"

// steps are the skeleton's programs in the order of enum step in handover.h, by
// the functions of port.c that call them.
var steps = []string{"enter", "classify", "finish"}

// stepMissing is STEP_MISSING.
const stepMissing = 3

func stepPlace(variant uint32, step int) uint32 { return variant*uint32(len(steps)) + uint32(step) }

// The steps that are called by a direct jump.
const (
	stepEnter = iota
	stepClassify
)

// callStep is a function that calls a step of the skeleton. It is not compiled
// from C because the place must be a constant in it.
func callStep(variant uint32, step int) compile.Function {
	return compile.Function{Name: steps[step], Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R3, int32(stepPlace(variant, step))),
		asm.LoadMapPtr(asm.R2, 0).WithReference(skeletonsMap),
		asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, stepMissing),
		asm.Return(),
	}}
}

// readSkeleton reads the skeleton's programs and the maps that go with them.
func readSkeleton() (*ebpf.CollectionSpec, error) {
	spec, err := skeleton.Load()
	if err != nil {
		return nil, fmt.Errorf("read the skeleton: %w", err)
	}
	spec.Maps[automataMap].Contents = []ebpf.MapKV{{Key: uint32(0), Value: conntrack.Tables()}}
	return spec, nil
}

// hasVariant tells whether the skeleton is loaded for features.
func hasVariant(maps map[string]*ebpf.Map, f features) (bool, error) {
	for step := range steps {
		var id uint32
		err := maps[skeletonsMap].Lookup(stepPlace(f.variant(), step), &id)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("look for the skeleton: %w", err)
		}
	}
	return true, nil
}

// loadVariant loads the skeleton for features, with maps, and enters it where
// generations look for it.
func loadVariant(spec *ebpf.CollectionSpec, f features, maps map[string]*ebpf.Map) error {
	spec = spec.Copy()
	if err := spec.Variables["features"].Set(f); err != nil {
		return fmt.Errorf("configure the skeleton: %w", err)
	}
	var group errgroup.Group
	for step, name := range steps {
		name = "skeleton_" + name
		part := spec.Copy()
		part.Programs = map[string]*ebpf.ProgramSpec{name: part.Programs[name]}
		group.Go(func() error {
			loaded, err := ebpf.NewCollectionWithOptions(part, ebpf.CollectionOptions{MapReplacements: replacements(part, maps)})
			if err != nil {
				return err
			}
			defer loaded.Close()
			return maps[skeletonsMap].Put(stepPlace(f.variant(), step), loaded.Programs[name])
		})
	}
	err := group.Wait()
	if root := needsRoot(err); errors.Is(root, ErrNeedsRoot) {
		return root
	}
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) {
		return &refusedError{lastLine(verifier), verifier}
	}
	if err != nil {
		return fmt.Errorf("load the skeleton: %w", err)
	}
	return nil
}

// replacements are the maps that a spec's programs use, in their size.
func replacements(spec *ebpf.CollectionSpec, maps map[string]*ebpf.Map) map[string]*ebpf.Map {
	replaced := map[string]*ebpf.Map{}
	for name := range spec.Maps {
		if m := maps[name]; m != nil {
			replaced[name] = m
			// The spec knows the size that tables have by default.
			spec.Maps[name].MaxEntries = m.MaxEntries()
		}
	}
	return replaced
}

// loadError makes one sentence of what the verifier says; errors.As still
// finds the *ebpf.VerifierError with the whole log.
func loadError(err error) error {
	var verifier *ebpf.VerifierError
	if !errors.As(err, &verifier) {
		return fmt.Errorf("load the port's programs: %w", err)
	}
	last := lastLine(verifier)
	if strings.Contains(last, "program is too large") {
		last = "the filter is too large for it; use fewer rules, or address ranges and masks in place of single addresses"
	}
	return &refusedError{last, verifier}
}

// lastLine is what the verifier refuses a program for.
func lastLine(err *ebpf.VerifierError) string {
	last := ""
	for _, line := range err.Log {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "processed ") {
			last = line
		}
	}
	return last
}

type refusedError struct {
	last string
	err  *ebpf.VerifierError
}

func (e *refusedError) Error() string { return "the kernel's verifier refused the program: " + e.last }
func (e *refusedError) Unwrap() error { return e.err }
