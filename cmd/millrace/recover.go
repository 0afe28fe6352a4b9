package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"millrace/node"
)

func recoverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Go on with the survivors when a majority of the replicas is lost for good",
		Long: `Go on with the survivors when the majority of a shard's replicas is lost for good. What
only the lost nodes had is gone. docs/recovery.md is the procedure; in short, with all
nodes stopped:

  millrace recover survey --data DIR > survey-1.json    on each survivor
  millrace recover plan survey-*.json > plan.json       once
  millrace recover apply --data DIR --plan plan.json    on each survivor

Lost nodes must never be started again on what they had.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(surveyCommand(), planCommand(), applyCommand())
	return cmd
}

// writeJSON writes v to the command's output.
func writeJSON(cmd *cobra.Command, v any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// readJSON reads what writeJSON wrote; fields that it does not know are refused.
func readJSON(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func surveyCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "survey --data DIR",
		Short: "Print what a survivor has; changes nothing",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usageError("--data is required")
			}
			s, err := node.MakeSurvey(dir)
			if err != nil {
				return err
			}
			return writeJSON(cmd, s)
		},
	}
	cmd.Flags().StringVar(&dir, "data", "", "data directory (required)")
	return cmd
}

func planCommand() *cobra.Command {
	var accept bool
	cmd := &cobra.Command{
		Use:   "plan SURVEY…",
		Short: "Decide from the surveys of all survivors which replica each shard goes on from",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("the surveys of all survivors are needed")
			}
			surveys := make([]node.Survey, len(args))
			for i, path := range args {
				if err := readJSON(path, &surveys[i]); err != nil {
					return usageError("%v", err)
				}
			}
			p, err := node.PlanRecovery(surveys, accept)
			if err != nil {
				return err
			}
			for _, k := range p.Keep {
				fmt.Fprintf(cmd.ErrOrStderr(), "shard %d goes on from node %.8s, term %d, index %d\n", k.Shard, k.Node, k.LastTerm, k.LastIndex)
			}
			for _, l := range p.Lost {
				fmt.Fprintf(cmd.ErrOrStderr(), "shard %d IS LOST and begins again, empty, on node %.8s\n", l.Shard, l.Node)
			}
			return writeJSON(cmd, p)
		},
	}
	cmd.Flags().BoolVar(&accept, "accept-loss", false, "let shards of which no survivor has a replica begin again, empty")
	return cmd
}

func applyCommand() *cobra.Command {
	var dir, path string
	cmd := &cobra.Command{
		Use:   "apply --data DIR --plan FILE",
		Short: "Do to a survivor's data directory what the plan says; can be repeated",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" || path == "" {
				return usageError("--data and --plan are required")
			}
			var p node.RecoveryPlan
			if err := readJSON(path, &p); err != nil {
				return usageError("%v", err)
			}
			logger, err := newLogger("info", "auto")
			if err != nil {
				return err
			}
			return node.ApplyRecovery(dir, p, logger)
		},
	}
	cmd.Flags().StringVar(&dir, "data", "", "data directory (required)")
	cmd.Flags().StringVar(&path, "plan", "", "file that recover plan wrote (required)")
	return cmd
}
