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
		Short: "Put load on a Millrace or Redis server and print rates and latencies",
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
	f.StringVar(&mode, "mode", string(bench.ModeXAdd), "kind of load: xadd, read, group or latency")
	f.StringSliceVar(&cfg.Addrs, "addr", []string{"127.0.0.1:6379"}, "client `addresses`; the connections are spread over them")
	f.StringVar(&cfg.Password, "password", "", "`password` of the server, if it has one")
	f.BoolVar(&cfg.ClusterAware, "cluster-aware", false, "send the commands on a stream to the node that leads its shard")
	f.IntVar(&cfg.Clients, "clients", 50, "`number` of connections")
	f.IntVar(&cfg.Depth, "depth", 16, "`number` of commands in flight on each connection")
	f.IntVar(&cfg.Streams, "streams", 16, "`number` of streams")
	f.IntVar(&cfg.Size, "size", 100, "size of a value in `bytes`")
	f.Int64Var(&cfg.Count, "count", 0, "end after this `number` of commands")
	f.DurationVar(&cfg.Duration, "duration", 0, "end after this `time` (10s if --count is not given either)")
	f.IntVar(&cfg.ReadCount, "read-count", 0, "COUNT of a read, the `number` of entries of one stream (default 10; 100 in mode group)")
	f.IntVar(&cfg.MaxLen, "maxlen", 0, "trim each stream with MAXLEN ~ to this `length`; 0 does not trim")
	f.IntVar(&cfg.WaitReplicas, "wait-replicas", 0, "end each batch with a WAIT for this `number` of replicas; for a Redis with replicas")
	f.BoolVar(&cfg.Remove, "remove", true, "delete the streams at the end")
	f.StringVar(&cfg.FsyncDir, "fsync-dir", "", "also measure a bare fsync in this `directory`")
	f.StringVarP(&output, "output", "o", "text", "output `format`: text or json")
	return cmd
}
