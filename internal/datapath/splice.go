package datapath

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"tapgate/internal/compile"
)

// splice puts compiled functions in the place of the stubs of the same name,
// and appends those that have none: parts, which take the same argument.
func splice(prog *ebpf.ProgramSpec, functions []compile.Function) error {
	subprograms := split(prog.Instructions)
	stubs := map[string]int{}
	for i, s := range subprograms {
		stubs[s[0].Symbol()] = i
	}
	link, ok := stubs[compile.LinkFunction]
	if !ok {
		return fmt.Errorf("program %s has no stub %s", prog.Name, compile.LinkFunction)
	}
	stub := subprograms[link][0]
	proto := btf.FuncMetadata(&stub)
	for _, f := range functions {
		code := f.Instructions
		if at, ok := stubs[f.Name]; ok {
			code[0].Metadata = subprograms[at][0].Metadata
			subprograms[at] = code
			continue
		}
		part := *proto
		part.Name = f.Name
		// The verifier wants a line of source for every function.
		code[0] = btf.WithFuncMetadata(code[0].WithSymbol(f.Name).WithSource(stub.Source()), &part)
		subprograms = append(subprograms, code)
	}
	var all asm.Instructions
	for _, s := range called(subprograms) {
		all = append(all, s...)
	}
	prog.Instructions = all
	return nil
}

// called leaves out the functions that nobody calls, which the verifier
// refuses: the stubs keep what only some policies call.
func called(subprograms []asm.Instructions) []asm.Instructions {
	byName := map[string]asm.Instructions{}
	for _, s := range subprograms {
		byName[s[0].Symbol()] = s
	}
	reached := map[string]bool{}
	var reach func(name string)
	reach = func(name string) {
		if reached[name] {
			return
		}
		reached[name] = true
		for _, in := range byName[name] {
			if in.IsFunctionReference() {
				reach(in.Reference())
			}
		}
	}
	reach(subprograms[0][0].Symbol())
	return slices.DeleteFunc(subprograms, func(s asm.Instructions) bool { return !reached[s[0].Symbol()] })
}

// split cuts a program at the beginnings of its functions.
func split(ins asm.Instructions) []asm.Instructions {
	var subprograms []asm.Instructions
	start := 0
	for i := 1; i <= len(ins); i++ {
		if i == len(ins) || btf.FuncMetadata(&ins[i]) != nil {
			subprograms = append(subprograms, ins[start:i:i])
			start = i
		}
	}
	return subprograms
}
