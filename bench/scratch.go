package main

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// scratch lends what package storetest makes to a program that is no test: it
// is a testing.TB of which only what storetest uses does anything.
type scratch struct {
	testing.TB // nil; whatever is not below would panic
	ctx        context.Context
	cleanups   []func()
}

// failed is what Fatal panics with.
type failed struct{ error }

// withScratch runs f and then what f left to clean up. Its error is f's, or
// what f told the scratch to be fatal.
func withScratch(ctx context.Context, f func(*scratch) error) (err error) {
	s := &scratch{ctx: ctx}
	defer func() {
		for len(s.cleanups) > 0 {
			last := s.cleanups[len(s.cleanups)-1]
			s.cleanups = s.cleanups[:len(s.cleanups)-1]
			last()
		}
	}()
	defer func() {
		if r := recover(); r != nil {
			told, ok := r.(failed)
			if !ok {
				panic(r)
			}
			err = told.error
		}
	}()
	return f(s)
}

func (s *scratch) Helper()                  {}
func (s *scratch) Context() context.Context { return s.ctx }
func (s *scratch) Cleanup(f func())         { s.cleanups = append(s.cleanups, f) }
func (s *scratch) Fatal(args ...any)        { panic(failed{fmt.Errorf("%s", fmt.Sprint(args...))}) }
func (s *scratch) Fatalf(format string, args ...any) {
	panic(failed{fmt.Errorf(format, args...)})
}

// Errorf is for cleanups, which have nobody to fail.
func (s *scratch) Errorf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

func (s *scratch) TempDir() string {
	dir, err := os.MkdirTemp("", "tiergate-bench-")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
