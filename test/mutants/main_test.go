package main

import (
	"go/build/constraint"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryMutantHasACatcher checks that every mutant has a constant, a build tag that
// selects only its file, and a test that has to catch it. A build without tags has none.
func TestEveryMutantHasACatcher(t *testing.T) {
	names, err := os.ReadFile("../../internal/mutant/mutant.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`= active == '(.)'`).FindAllStringSubmatch(string(names), -1)
	if len(named) != len(catchers) {
		t.Errorf("%d names, %d catchers", len(named), len(catchers))
	}
	for i, c := range catchers {
		if i < len(named) && named[i][1] != c.mutant {
			t.Errorf("mutant %s has the name of %s", c.mutant, named[i][1])
		}
	}
	files, err := filepath.Glob("../../internal/mutant/*.go")
	if err != nil {
		t.Fatal(err)
	}
	build := func(tag string) (in []string) {
		for _, path := range files {
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range f.Comments {
				for _, line := range g.List {
					if x, err := constraint.Parse(line.Text); err == nil && x.Eval(func(s string) bool { return s == tag }) {
						in = append(in, filepath.Base(path))
					}
				}
			}
		}
		return in
	}
	if got := build(""); len(got) != 1 || got[0] != "none.go" {
		t.Errorf("a build without tags has %v", got)
	}
	for _, c := range catchers {
		if got := build("mutant_" + c.mutant); strings.Join(got, " ") != c.mutant+".go" {
			t.Errorf("a build with mutant_%s has %v", c.mutant, got)
		}
	}
}
