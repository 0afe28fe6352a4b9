package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"millrace/node"
)

// statusTimeout limits one request for the status. With --wait, status asks again every
// statusPoll.
const (
	statusTimeout = 5 * time.Second
	statusPoll    = 200 * time.Millisecond
)

func statusCommand() *cobra.Command {
	var (
		addr, output string
		wait, ready  bool
		timeout      time.Duration
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show nodes, shards, leaders and lag; exit code 10 if the cluster is not healthy",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return usageError("--output: %q is not table or json", output)
			}
			host, err := hostPort(addr)
			if err != nil {
				return err
			}
			addr = host
			if ready {
				return probeReady(cmd.Context(), addr)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			st, err := fetchStatus(ctx, addr)
			if wait {
				st, err = waitHealthy(ctx, addr, st, err)
			}
			if err != nil {
				return &codeError{exitUnhealthy, err}
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				if err := enc.Encode(st); err != nil {
					return err
				}
			} else {
				printStatus(cmd.OutOrStdout(), st)
			}
			if !st.Healthy {
				return &codeError{code: exitUnhealthy}
			}
			return nil
		},
	}
	d := node.DefaultConfig()
	cmd.Flags().StringVar(&addr, "addr", d.HTTPAddr, "HTTP `address` of any node")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "output `format`: table or json")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the cluster is healthy")
	cmd.Flags().BoolVar(&ready, "ready", false, "only check that the node serves clients; prints nothing if it does")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "give up after this `time`")
	return cmd
}

// hostPort returns HOST:PORT, of that itself or of the URL of a page, such as the one that
// millrace dev prints: http://127.0.0.1:7389/status gives 127.0.0.1:7389.
func hostPort(addr string) (string, error) {
	host, _ := strings.CutPrefix(addr, "http://")
	host, _, _ = strings.Cut(host, "/")
	if _, _, err := net.SplitHostPort(host); err != nil {
		return "", usageError("--addr: %q is neither HOST:PORT nor http://HOST:PORT", addr)
	}
	return host, nil
}

func probeReady(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	_, err := httpGet(ctx, "http://"+addr+"/readyz")
	if err != nil {
		return &codeError{exitUnhealthy, err}
	}
	return nil
}

func fetchStatus(ctx context.Context, addr string) (node.Status, error) {
	var st node.Status
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	b, err := httpGet(ctx, "http://"+addr+"/status")
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(b, &st); err != nil {
		return st, fmt.Errorf("%s: %w", addr, err)
	}
	return st, nil
}

// maxStatusBytes limits the size of a status page.
const maxStatusBytes = 16 << 20

func httpGet(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, maxStatusBytes))
	if err != nil {
		return nil, err
	}
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", url, r.Status, firstLine(b))
	}
	return b, nil
}

func firstLine(b []byte) string {
	for i, c := range b {
		if c == '\n' {
			return string(b[:i])
		}
	}
	return string(b)
}

// waitHealthy polls the status until the cluster is healthy or ctx ends, and returns the last
// answer. st and err are the answer that the caller already has.
func waitHealthy(ctx context.Context, addr string, st node.Status, err error) (node.Status, error) {
	p, start := newProgress(), time.Now()
	defer p.end()
	next := 2 * time.Second
	for err != nil || !st.Healthy {
		if waited := time.Since(start); waited > next {
			why := fmt.Sprint(err)
			if err == nil && len(st.Problems) > 0 {
				why = st.Problems[0]
			}
			p.line("waiting for the cluster to be healthy, %.0f s: %s", waited.Seconds(), why)
			next += time.Second
		}
		select {
		case <-ctx.Done():
			return st, err
		case <-time.After(statusPoll):
		}
		if s, e := fetchStatus(ctx, addr); ctx.Err() == nil {
			st, err = s, e
		}
	}
	return st, nil
}

func printStatus(w io.Writer, st node.Status) {
	health := "healthy"
	if !st.Healthy {
		health = "NOT healthy"
	}
	fmt.Fprintf(w, "cluster %s, %s\n", orDash(st.ClusterID), health)
	for _, p := range st.Problems {
		fmt.Fprintf(w, "  ! %s\n", p)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nNODE\tCLIENTS\tPEERS\tALIVE\tLEADS")
	for _, n := range st.Nodes {
		fmt.Fprintf(t, "%.8s\t%s\t%s\t%v\t%d\n", n.ID, n.ClientAddr, n.PeerAddr, n.Alive, n.Leads)
	}
	fmt.Fprintln(t, "\nSHARD\tSLOTS\tLEADER\tTERM\tCOMMIT\tREPLICAS (lag)")
	for _, s := range st.Shards {
		slots := "meta"
		if s.ID != 0 {
			slots = fmt.Sprintf("%d-%d", s.FirstSlot, s.LastSlot)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%d\t%s\n", s.ID, slots, orDash(fmt.Sprintf("%.8s", s.Leader)), s.Term, s.Commit, replicaList(s.Replicas))
	}
	_ = t.Flush() // an error of w shows in the next write to it
}

func replicaList(rs []node.ReplicaStatus) string {
	var out strings.Builder
	for i, r := range rs {
		if i > 0 {
			out.WriteString(" ")
		}
		lag := "?"
		if r.Reached {
			lag = fmt.Sprint(r.Lag)
		}
		fmt.Fprintf(&out, "%.8s(%s)", r.Node, lag)
		if !r.Voter {
			out.WriteString("*")
		}
	}
	return out.String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
