package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"millrace/node"
	"millrace/raftlog/disk"
)

// quietFor is the time after which a long check begins to report its progress.
const quietFor = 2 * time.Second

func doctorCommand() *cobra.Command {
	var dir, output string
	cmd := &cobra.Command{
		Use:   "doctor --data DIR",
		Short: "Check the data directory of a stopped node; exit code 12 if it is damaged",
		Long: `Check the data directory of a stopped node without changing it. The checks cover the
formats and checksums of all files, gaps in the Raft logs, each shard's state against its
snapshot marker and log, and all of these against the cluster map.

Exit codes: 0 no problem found, 12 damaged, 1 the check was not possible.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usageError("--data is required")
			}
			if output != "table" && output != "json" {
				return usageError("--output: %q is not table or json", output)
			}
			p, began := newProgress(), time.Now()
			up, err := node.Diagnose(dir, func(check string, keys int) {
				if time.Since(began) > quietFor {
					p.line("%s: %d keys", check, keys)
				}
			})
			p.end()
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				err = enc.Encode(up)
			} else {
				err = printCheckup(cmd.OutOrStdout(), up)
			}
			if err == nil && !up.Healthy {
				err = &codeError{code: disk.Corrupt.ExitCode()}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "data", "", "data `directory` (required)")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "output `format`: table or json")
	return cmd
}

func printCheckup(w io.Writer, up node.Checkup) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "CHECK\tRESULT\tDETAIL")
	for _, c := range up.Checks {
		result := "ok"
		if n := len(c.Problems) + c.More; n > 0 {
			result = fmt.Sprintf("problems: %d", n)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", c.Name, result, c.Detail)
	}
	if len(up.Replicas) > 0 {
		fmt.Fprintln(t, "\nSHARD\tSLOTS\tLOG\tTERM\tAPPLIED\tSNAPSHOT\tVOTERS")
		for _, r := range up.Replicas {
			fmt.Fprintf(t, "%d\t%d-%d\t%d-%d\t%d\t%d\t%d\t%d\n", r.Shard, r.FirstSlot, r.LastSlot, r.First, r.Last, r.LastTerm, r.Applied, r.Snapshot, len(r.Voters))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, c := range up.Checks {
		for _, text := range c.Problems {
			fmt.Fprintf(w, "\n%s: %s\n", c.Name, text)
		}
		if c.More > 0 {
			fmt.Fprintf(w, "%s: and %d more\n", c.Name, c.More)
		}
	}
	return nil
}
