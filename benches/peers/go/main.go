// The workloads of benches/ on goroutines. Prints "workload|Go|workers|ns|ns per operation", one row each.
//
//	go run . WORKERS [WORKLOAD...]
package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"
)

const capacity = 1024

// A sender of an unbounded stream yields after so many words.
const burst = 256

func yield(n int) time.Duration {
	var done sync.WaitGroup
	start := time.Now()
	for range 2 {
		done.Add(1)
		go func() {
			defer done.Done()
			for range n / 2 {
				runtime.Gosched()
			}
		}()
	}
	done.Wait()
	return time.Since(start)
}

func spawnJoin(n int) time.Duration {
	start := time.Now()
	for range n {
		ended := make(chan struct{})
		go func() { close(ended) }()
		<-ended
	}
	return time.Since(start)
}

func pingPong(n int) time.Duration {
	ping, pong := make(chan uint64), make(chan uint64)
	go func() {
		for word := range ping {
			pong <- word
		}
	}()
	ping <- 0
	<-pong
	start := time.Now()
	for word := range n {
		ping <- uint64(word)
		<-pong
	}
	took := time.Since(start)
	close(ping)
	return took
}

func bounded(senders, receivers int) func(int) time.Duration {
	return func(n int) time.Duration {
		each := n / (senders * receivers)
		channel := make(chan uint64, capacity)
		var done sync.WaitGroup
		done.Add(senders + receivers)
		start := time.Now()
		for range receivers {
			go func() {
				defer done.Done()
				for range each * senders {
					<-channel
				}
			}()
		}
		for range senders {
			go func() {
				defer done.Done()
				for word := range each * receivers {
					channel <- uint64(word)
				}
			}()
		}
		done.Wait()
		return time.Since(start)
	}
}

// Go has no unbounded channel: a list behind a mutex and a condition variable, as one writes it.
type unbounded struct {
	mutex sync.Mutex
	comes sync.Cond
	words []uint64
}

func (u *unbounded) send(word uint64) {
	u.mutex.Lock()
	u.words = append(u.words, word)
	u.mutex.Unlock()
	u.comes.Signal()
}

func (u *unbounded) receive(batch []uint64) []uint64 {
	u.mutex.Lock()
	for len(u.words) == 0 {
		u.comes.Wait()
	}
	words := u.words
	u.words = batch[:0]
	u.mutex.Unlock()
	return words
}

func manyToOne(n int) time.Duration {
	const senders = 4
	channel := &unbounded{}
	channel.comes.L = &channel.mutex
	start := time.Now()
	for range senders {
		go func() {
			for word := range n / senders {
				channel.send(uint64(word))
				if word%burst == burst-1 {
					runtime.Gosched()
				}
			}
		}()
	}
	var batch []uint64
	for got := 0; got < n/senders*senders; got += len(batch) {
		batch = channel.receive(batch)
	}
	return time.Since(start)
}

func mutex(n int) time.Duration {
	const threads = 8
	var lock sync.Mutex
	var done sync.WaitGroup
	count := 0
	start := time.Now()
	for range threads {
		done.Add(1)
		go func() {
			defer done.Done()
			for range n / threads {
				lock.Lock()
				count++
				lock.Unlock()
			}
		}()
	}
	done.Wait()
	if count != n/threads*threads {
		panic("the mutex excludes nobody")
	}
	return time.Since(start)
}

func main() {
	workers, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	runtime.GOMAXPROCS(workers)
	workloads := []struct {
		name string
		n    int
		run  func(int) time.Duration
	}{
		{"yield 2", 1_000_000, yield},
		{"spawn + join", 300_000, spawnJoin},
		{"channel ping-pong", 300_000, pingPong},
		{"bounded 1:1", 2_000_000, bounded(1, 1)},
		{"bounded 4:4", 2_000_000, bounded(4, 4)},
		{"unbounded 4:1", 2_000_000, manyToOne},
		{"mutex by 8", 4_000_000, mutex},
	}
	for _, workload := range workloads {
		if len(os.Args) > 2 && !slices.Contains(os.Args[2:], workload.name) {
			continue
		}
		took := workload.run(workload.n)
		fmt.Printf("%s|Go|%d|ns|%.1f\n", workload.name, workers, float64(took.Nanoseconds())/float64(workload.n))
	}
}
