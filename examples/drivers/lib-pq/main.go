// Opens connections through the pool until SIGTERM, and prints how many queries succeeded and how many failed.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	pool, err := openPool(50 * time.Millisecond)
	if err != nil {
		fmt.Fprintln(os.Stderr, "failed:", err)
		os.Exit(1)
	}
	var queries, failed atomic.Int64
	var workers sync.WaitGroup
	for range 4 {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for stop.Err() == nil {
				if _, err := pool.Exec("SELECT 1"); err != nil {
					failed.Add(1)
					fmt.Fprintf(os.Stderr, "failed: %q\n", err.Error())
				} else {
					queries.Add(1)
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
	}
	workers.Wait()
	pool.Close()
	fmt.Printf("queries=%d failed=%d\n", queries.Load(), failed.Load())
}
