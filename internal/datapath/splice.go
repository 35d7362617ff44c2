package datapath

import (
	"fmt"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"tapgate/internal/compile"
	"tapgate/internal/datapath/skeleton"
	"tapgate/internal/policy"
)

const (
	programOut = "tapgate_out"
	programIn  = "tapgate_in"
)

var programs = map[policy.Direction]string{policy.Out: programOut, policy.In: programIn}

// nameStub is replaced by the loader where no connections are kept.
const nameStub = "name_clause"

// The numbers in port.c that the loader replaces.
const (
	generationSlot = 0x67617465
	firstStep      = 0x67617466
	linkFirst      = 0x67617467
)

// template is what all generations' programs are made of. It is read once a
// process and not changed.
type template struct {
	layout compile.Layout
	maps   map[string]*ebpf.MapSpec
	// functions of the two programs; the first is the program itself.
	functions [2][]asm.Instructions
	// part is the prototype of a function with a piece of a list.
	part *btf.FuncProto
}

var readTemplate = sync.OnceValues(func() (*template, error) {
	spec, err := skeleton.LoadPort()
	if err != nil {
		return nil, fmt.Errorf("read the port's programs: %w", err)
	}
	t := &template{maps: spec.Maps}
	if t.layout, err = skeleton.Layout(spec); err != nil {
		return nil, err
	}
	slim := slimmer{}
	for d, name := range programs {
		for _, code := range split(spec.Programs[name].Instructions) {
			f := slim.function(btf.FuncMetadata(&code[0]))
			if f.Name == compile.LinkFunction {
				t.part = f.Type.(*btf.FuncProto)
			}
			for i := range code {
				code[i] = code[i].WithSource(nil)
			}
			code[0] = btf.WithFuncMetadata(code[0], f)
			t.functions[d] = append(t.functions[d], code)
		}
	}
	if t.part == nil {
		return nil, fmt.Errorf("the port's programs have no stub %s", compile.LinkFunction)
	}
	return t, nil
})

// split cuts a program at the beginnings of its functions.
func split(ins asm.Instructions) []asm.Instructions {
	var functions []asm.Instructions
	start := 0
	for i := 1; i <= len(ins); i++ {
		if i == len(ins) || btf.FuncMetadata(&ins[i]) != nil {
			functions = append(functions, ins[start:i:i])
			start = i
		}
	}
	return functions
}

// slimmer takes out of functions' types what the verifier does not ask for: of
// the structs that arguments point to, it wants the name or the size. Every load
// hands the types to the kernel, which checks them all.
type slimmer map[btf.Type]btf.Type

func (s slimmer) function(f *btf.Func) *btf.Func {
	proto := *f.Type.(*btf.FuncProto)
	proto.Params = slices.Clone(proto.Params)
	for i, p := range proto.Params {
		proto.Params[i].Type = s.argument(p.Type)
	}
	slim := *f
	slim.Type, slim.Tags = &proto, nil
	return &slim
}

func (s slimmer) argument(t btf.Type) btf.Type {
	if known, ok := s[t]; ok {
		return known
	}
	slim := t
	if pointer, ok := t.(*btf.Pointer); ok {
		if to, ok := btf.UnderlyingType(pointer.Target).(*btf.Struct); ok {
			slim = &btf.Pointer{Target: &btf.Struct{Name: to.Name, Size: to.Size}}
		}
	}
	s[t] = slim
	return slim
}

// splice makes a program: compiled functions take the place of the stubs of the
// same name, and numbers that of those in the program itself. Functions that have
// no stub are parts, which take the same argument.
func (t *template) splice(d policy.Direction, compiled []compile.Function, numbers map[int64]uint32) asm.Instructions {
	functions := slices.Clone(t.functions[d])
	functions[0] = slices.Clone(functions[0])
	for i := range functions[0] {
		in := &functions[0][i]
		if n, ok := numbers[in.Constant]; ok && in.OpCode == asm.Mov.Op(asm.ImmSource) {
			in.Constant = int64(n)
		}
	}
	stubs := map[string]int{}
	for i, f := range functions {
		stubs[f[0].Symbol()] = i
	}
	for _, c := range compiled {
		code := c.Instructions
		if at, ok := stubs[c.Name]; ok {
			code[0] = btf.WithFuncMetadata(code[0].WithSymbol(c.Name), btf.FuncMetadata(&functions[at][0]))
			functions[at] = code
			continue
		}
		part := &btf.Func{Name: c.Name, Type: t.part, Linkage: btf.GlobalFunc}
		code[0] = btf.WithFuncMetadata(code[0].WithSymbol(c.Name), part)
		functions = append(functions, code)
	}
	return slices.Concat(called(functions)...)
}

// called leaves out the functions that nobody calls, which the verifier
// refuses: the stubs keep what only some policies call.
func called(functions []asm.Instructions) []asm.Instructions {
	byName := map[string]asm.Instructions{}
	for _, f := range functions {
		byName[f[0].Symbol()] = f
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
	reach(functions[0][0].Symbol())
	return slices.DeleteFunc(functions, func(f asm.Instructions) bool { return !reached[f[0].Symbol()] })
}

// constant is a function that returns a number.
func constant(name string, n uint32) compile.Function {
	return compile.Function{Name: name, Instructions: asm.Instructions{asm.Mov.Imm32(asm.R0, int32(n)), asm.Return()}}
}
