package placement

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// start runs a controller of w in the test's bubble. stop ends it and waits for the end.
func start(w World, log *slog.Logger) (c *Controller, stop func()) {
	c = NewController(w, log)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	return c, func() { cancel(); <-done }
}

// await lets the bubble's time pass until w is settled, at most d.
func (w *world) await(t *testing.T, d time.Duration) (took time.Duration) {
	t.Helper()
	for begin := time.Now(); ; {
		w.mu.Lock()
		err := w.settled()
		wrong := w.wrong
		w.mu.Unlock()
		took = time.Since(begin)
		switch {
		case len(wrong) > 0:
			t.Fatalf("after %v: %s", took, wrong[0])
		case err == nil:
			return took
		case took > d:
			t.Fatalf("not settled after %v: %v\n%s", d, err, w.Map())
		}
		time.Sleep(20 * time.Millisecond)
		w.tick()
	}
}

// TestControllerGrows has a cluster grow from one node to five, and then one node leave.
func TestControllerGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, 3, 1, "a")
		w.transferTime = 100 * time.Millisecond
		c, stop := start(w, nil)
		defer stop()
		t.Logf("one node: %v", w.await(t, 5*time.Second))
		for _, nodes := range [][]string{{"b"}, {"c"}, {"d", "e"}} {
			for _, n := range nodes {
				if err := w.join(n); err != nil {
					t.Fatal(err)
				}
			}
			c.Wake()
			t.Logf("%v join: %v", nodes, w.await(t, time.Minute))
		}
		if err := w.Propose(t.Context(), []string{"NODE.STATE", id("a"), "draining"}); err != nil {
			t.Fatal(err)
		}
		c.Wake()
		t.Logf("a leaves: %v", w.await(t, 2*time.Minute))
		if w.hasVote(id("a")) {
			t.Error("a still has a vote")
		}
	})
}

// TestControllerMovesBack kills a node and brings it back. It leads its shards again after
// PreferredSteady, one shard after the other, and after transferPause when it fails again.
func TestControllerMovesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6, 3, 3, "a")
		w.transferTime = 300 * time.Millisecond
		for _, n := range []string{"b", "c"} {
			if err := w.join(n); err != nil {
				t.Fatal(err)
			}
		}
		c, stop := start(w, nil)
		defer stop()
		w.await(t, time.Minute)
		time.Sleep(time.Minute)
		w.transfers()

		w.setAlive(id("b"), false)
		for range 50 {
			time.Sleep(200 * time.Millisecond)
			w.tick()
		}
		w.setAlive(id("b"), true)
		back := time.Now()
		c.Wake()
		took := w.await(t, 30*time.Second)
		if took < PreferredSteady {
			t.Errorf("all was moved back after %v", took)
		}
		moved := w.transfers()
		if len(moved) != 2 {
			t.Fatalf("%d transfers, want 2: b is preferred for two of six shards", len(moved))
		}
		for _, at := range moved {
			if at.Sub(back) < PreferredSteady {
				t.Errorf("moved back after %v", at.Sub(back))
			}
		}

		// The node dies again at once, so the next transfers wait for transferPause.
		w.setAlive(id("b"), false)
		time.Sleep(time.Second)
		w.setAlive(id("b"), true)
		for range 20 {
			w.tick()
		}
		w.await(t, time.Minute)
		again := w.transfers()
		if len(again) != 2 {
			t.Fatalf("%d transfers, want 2", len(again))
		}
		if rest := again[0].Sub(moved[0]); rest < transferPause {
			t.Errorf("moved again %v after the last time, want %v", rest, transferPause)
		}
	})
}

// TestControllerIdles shows that the controller rarely asks while it has nothing to do.
func TestControllerIdles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4, 1, 1, "a")
		c, stop := start(w, nil)
		defer stop()
		w.await(t, time.Minute)
		time.Sleep(time.Minute)
		asked, stepped := w.counts()
		time.Sleep(time.Minute)
		nowAsked, nowStepped := w.counts()
		if got, want := (nowAsked-asked)/5, int(time.Minute/settledInterval); got > want+1 {
			t.Errorf("%d rounds in a minute, want %d", got, want)
		}
		if nowStepped != stepped {
			t.Errorf("%d steps with nothing to do", nowStepped-stepped)
		}
		// A hundred calls of Wake at once lead to one round, soon.
		asked = nowAsked
		for range 100 {
			c.Wake()
		}
		time.Sleep(2 * progressPause)
		nowAsked, _ = w.counts()
		if got := (nowAsked - asked) / 5; got < 1 || got > 2 {
			t.Errorf("%d rounds after Wake", got)
		}
	})
}

// stuck is a world in which requests run into their time-out, except for the meta group's
// status.
type stuck struct{ *world }

func (s stuck) ShardStatus(ctx context.Context, shard uint32) (ShardStatus, error) {
	if shard == MetaShard {
		return s.world.ShardStatus(ctx, shard)
	}
	<-ctx.Done()
	return ShardStatus{}, ctx.Err()
}

func (s stuck) AddNonvoter(ctx context.Context, _ uint32, _ string, _ uint64) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestControllerStops shows that Run ends at once when ctx ends, at any stage of a round.
func TestControllerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for wait := range 12 {
			w := newWorld(t, 20, 3, 1, "a")
			if err := w.join("b"); err != nil {
				t.Fatal(err)
			}
			_, stop := start(stuck{w}, nil)
			time.Sleep(time.Duration(wait) * 700 * time.Millisecond)
			begin := time.Now()
			stop()
			if took := time.Since(begin); took > 0 {
				t.Errorf("stopped after %v", took)
			}
		}
	})
}

// refusing is a world that refuses every command.
type refusing struct{ *world }

func (refusing) Propose(context.Context, []string) error { return errors.New("no") }

// TestControllerLogs shows that a repeated failure is logged as a warning only once, and
// that the line names the step and the error.
func TestControllerLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
		_, stop := start(refusing{newWorld(t, 2, 1, 1, "a")}, log)
		time.Sleep(30 * time.Second)
		stop()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[0], `args="[SHARDS.CREATE 1]"`) ||
			!strings.Contains(lines[0], "error=no") {
			t.Errorf("logged:\n%s", out.String())
		}
	})
}

// TestControllerWithoutMap shows that the controller does nothing until the cluster is
// created, and that Run can be called again after it has returned.
func TestControllerWithoutMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{meta: newMeta()}
		c := NewController(w, nil)
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			c.Run(ctx)
			cancel()
		}
		if asked, stepped := w.counts(); asked+stepped > 0 {
			t.Errorf("asked %d, stepped %d", asked, stepped)
		}
	})
}

func ExamplePlan() {
	m := newMeta()
	_, _ = m.apply(append([]string{"FOUND", clusterID, "2", "3", "1", id("a")}, addrs("a")...)...)
	for _, s := range Plan(m.Map(), Observed{}) {
		fmt.Println(s.Kind, s.Argv, "because", s.Why)
	}
	// Output: propose [SHARDS.CREATE 1] because the expected nodes have joined
}
