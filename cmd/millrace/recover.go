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
		Short: "Continue with the surviving nodes after a majority of replicas is lost for good",
		Long: `Continue with the surviving nodes after a majority of a shard's replicas is lost for
good. Data that only the lost nodes had is gone. docs/recovery.md describes the whole
procedure. In short, with all nodes stopped:

  millrace recover survey --data DIR > survey-1.json    on each survivor
  millrace recover plan survey-*.json > plan.json       once
  millrace recover apply --data DIR --plan plan.json    on each survivor

Never start a lost node again with its old data directory.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(surveyCommand(), planCommand(), applyCommand())
	return cmd
}

// writeJSON writes v as JSON to the command's output.
func writeJSON(cmd *cobra.Command, v any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// readJSON reads a file that writeJSON wrote. It refuses unknown fields.
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
		Short: "Print a report of the data on a survivor, without changing it",
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
	cmd.Flags().StringVar(&dir, "data", "", "data `directory` (required)")
	return cmd
}

func planCommand() *cobra.Command {
	var accept bool
	cmd := &cobra.Command{
		Use:   "plan SURVEY…",
		Short: "Choose from all surveys the replica from which each shard continues",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("name the survey files of all survivors")
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
				fmt.Fprintf(cmd.ErrOrStderr(), "shard %d continues from node %.8s, term %d, index %d\n", k.Shard, k.Node, k.LastTerm, k.LastIndex)
			}
			for _, l := range p.Lost {
				fmt.Fprintf(cmd.ErrOrStderr(), "shard %d IS LOST and starts again, empty, on node %.8s\n", l.Shard, l.Node)
			}
			return writeJSON(cmd, p)
		},
	}
	cmd.Flags().BoolVar(&accept, "accept-loss", false, "start shards that have no surviving replica again, empty")
	return cmd
}

func applyCommand() *cobra.Command {
	var dir, path string
	cmd := &cobra.Command{
		Use:   "apply --data DIR --plan FILE",
		Short: "Change a survivor's data directory according to the plan; can be repeated",
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
	cmd.Flags().StringVar(&dir, "data", "", "data `directory` (required)")
	cmd.Flags().StringVar(&path, "plan", "", "`file` written by recover plan (required)")
	return cmd
}
