package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"millrace/internal/version"
)

func versionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and the compiler of this binary",
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, v := cmd.OutOrStdout(), version.Get()
			switch output {
			case "json":
				enc := json.NewEncoder(out)
				enc.SetIndent("", "  ")
				return enc.Encode(v)
			case "text":
				_, err := fmt.Fprintf(out, "millrace %s\ncommit %s %s\n%s %s\n", v.Version, v.Revision(), orDash(v.CommitTime), v.Go, v.Platform)
				return err
			}
			return usageError("--output: %q is not text or json", output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}
