// Package report writes the results of a chaos run: as JSON for programs, and for people
// as one HTML page that needs no scripts and no other files.
package report
