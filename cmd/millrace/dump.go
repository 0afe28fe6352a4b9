package main

import (
	"github.com/spf13/cobra"

	"millrace/node"
)

func dumpCommand() *cobra.Command {
	var (
		dir   string
		part  string
		limit int
	)
	cmd := &cobra.Command{
		Use:   "dump --data DIR",
		Short: "Print the data directory of a stopped node: keys, log records, snapshot markers",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usageError("--data is required")
			}
			o := node.DumpOptions{Log: part != "state", State: part != "log", Limit: limit}
			if part != "all" && part != "state" && part != "log" {
				return usageError("--part: %q is not all, log or state", part)
			}
			p := newProgress()
			defer p.end()
			o.Progress = func(lines int) { p.line("%d lines", lines) }
			return node.Dump(dir, cmd.OutOrStdout(), o)
		},
	}
	cmd.Flags().StringVar(&dir, "data", "", "data `directory` (required)")
	cmd.Flags().StringVar(&part, "part", "all", "`part` to print: all, log or state")
	cmd.Flags().IntVar(&limit, "limit", 0, "print at most this `number` of lines of each part; 0 prints all")
	return cmd
}
