package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"millrace/test/bench"
)

func benchCommand() *cobra.Command {
	var (
		cfg    bench.Config
		mode   string
		output string
	)
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put load on a server, Millrace or Redis, and print rate and percentiles",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return usageError("--output: %q is not text or json", output)
			}
			cfg.Mode = bench.Mode(mode)
			p := newProgress()
			r, err := bench.Run(cmd.Context(), cfg, func(s bench.Progress) {
				p.line("%s %.0f s: %d done, %.0f/s, %d errors", s.Phase, s.Elapsed.Seconds(), s.Done, s.Rate, s.Errors)
			})
			p.end()
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				if err := enc.Encode(r); err != nil {
					return err
				}
			} else {
				fmt.Fprint(cmd.OutOrStdout(), r)
			}
			if r.Commands == 0 {
				return fmt.Errorf("no command succeeded: %d errors, %d lost; %s", r.Errors, r.Lost, orDash(r.FirstError))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&mode, "mode", string(bench.ModeXAdd), "xadd, read, group or latency")
	f.StringSliceVar(&cfg.Addrs, "addr", []string{"127.0.0.1:6379"}, "client addresses; connections are dealt out over them")
	f.StringVar(&cfg.Password, "password", "", "password, if the server wants one")
	f.BoolVar(&cfg.ClusterAware, "cluster-aware", false, "send each stream's commands to the node that leads it")
	f.IntVar(&cfg.Clients, "clients", 50, "connections")
	f.IntVar(&cfg.Depth, "depth", 16, "commands in flight on each connection")
	f.IntVar(&cfg.Streams, "streams", 16, "streams")
	f.IntVar(&cfg.Size, "size", 100, "bytes of a value")
	f.Int64Var(&cfg.Count, "count", 0, "end after so many commands")
	f.DurationVar(&cfg.Duration, "duration", 0, "end after so long (10s when --count is not given either)")
	f.IntVar(&cfg.ReadCount, "read-count", 0, "entries of one stream that a read asks for (default 10; 100 in mode group)")
	f.IntVar(&cfg.MaxLen, "maxlen", 0, "trim with MAXLEN ~ this; 0: do not")
	f.IntVar(&cfg.WaitReplicas, "wait-replicas", 0, "end each batch with a WAIT for so many replicas: for a Redis that is to keep copies")
	f.BoolVar(&cfg.Remove, "remove", false, "delete the streams at the end")
	f.StringVar(&cfg.FsyncDir, "fsync-dir", "", "measure a bare fsync in this directory in the same run")
	f.StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}
