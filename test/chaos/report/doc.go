// Package report writes down what a chaos run has tried and found: as JSON for programs,
// and as one page of HTML, without scripts or files beside it, for people.
package report
