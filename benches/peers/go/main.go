// The workloads of benches/ on goroutines. Prints "workload|Go|workers|unit|value", one row for each figure.
//
//	go run . WORKERS WORKLOAD
//	go run . WORKERS             lists the workloads
package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const capacity = 1024

// A sender of an unbounded stream yields after so many words.
const burst = 256

func yield(threads int) func(int) time.Duration {
	return func(n int) time.Duration {
		var done sync.WaitGroup
		start := time.Now()
		for range threads {
			done.Add(1)
			go func() {
				defer done.Done()
				for range n / threads {
					runtime.Gosched()
				}
			}()
		}
		done.Wait()
		return time.Since(start)
	}
}

// Spawned so many at a time, then joined; each yields once.
func spawnJoin(threads int) func(int) time.Duration {
	return func(n int) time.Duration {
		start := time.Now()
		for range n / threads {
			var done sync.WaitGroup
			done.Add(threads)
			for range threads {
				go func() {
					runtime.Gosched()
					done.Done()
				}()
			}
			done.Wait()
		}
		return time.Since(start)
	}
}

const (
	leaves = 1_000_000
	nodes  = 1_111_111
	total  = leaves * (leaves - 1) / 2
)

func sky(first, leaves int, to chan int) {
	if leaves == 1 {
		to <- first
		return
	}
	part, sum := leaves/10, 0
	children := make(chan int)
	for child := range 10 {
		go sky(first+child*part, part, children)
	}
	for range 10 {
		sum += <-children
	}
	to <- sum
}

// The root is one more.
func skynet(int) time.Duration {
	start := time.Now()
	sum := make(chan int)
	go sky(0, leaves, sum)
	if <-sum != total {
		panic("a leaf is missing")
	}
	return time.Since(start)
}

func resident() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		panic(err)
	}
	return float64(pages * os.Getpagesize())
}

type figure struct {
	unit  string
	value float64
}

// A million that wait: bytes and nanoseconds each.
func parked() []figure {
	const count = 1_000_000
	var arrived atomic.Int64
	closed := make(chan struct{})
	before, start := resident(), time.Now()
	for range count {
		go func() {
			arrived.Add(1)
			<-closed
		}()
	}
	for arrived.Load() < count {
		runtime.Gosched()
	}
	took, after := time.Since(start), resident()
	close(closed)
	return []figure{{"bytes", (after - before) / count}, {"ns", float64(took.Nanoseconds()) / count}}
}

// How late they are that sleep for a second from when they begin.
func sleep() []figure {
	const count = 100_000
	late := make([]time.Duration, count)
	var done sync.WaitGroup
	for at := range count {
		done.Add(1)
		go func() {
			defer done.Done()
			until := time.Now().Add(time.Second)
			time.Sleep(time.Second)
			late[at] = time.Since(until)
		}()
	}
	done.Wait()
	slices.Sort(late)
	at := func(percent int) float64 { return float64(late[(count-1)*percent/100].Microseconds()) }
	return []figure{{"p50 us", at(50)}, {"p99 us", at(99)}}
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

func report(workload string, workers int, figures []figure) {
	for _, figure := range figures {
		fmt.Printf("%s|Go|%d|%s|%.1f\n", workload, workers, figure.unit, figure.value)
	}
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
		{"yield 2", 1_000_000, yield(2)},
		{"yield 1,000", 1_000_000, yield(1000)},
		{"spawn + join", 300_000, spawnJoin(1)},
		{"spawn 100,000", 300_000, spawnJoin(100_000)},
		{"skynet", nodes, skynet},
		{"channel ping-pong", 300_000, pingPong},
		{"bounded 1:1", 2_000_000, bounded(1, 1)},
		{"bounded 4:4", 2_000_000, bounded(4, 4)},
		{"unbounded 4:1", 2_000_000, manyToOne},
		{"mutex by 8", 4_000_000, mutex},
	}
	if len(os.Args) <= 2 {
		fmt.Println("parked")
		fmt.Println("sleep 1 s")
		for _, workload := range workloads {
			fmt.Println(workload.name)
		}
		return
	}
	switch os.Args[2] {
	case "parked":
		report("parked", workers, parked())
	case "sleep 1 s":
		report("sleep 1 s", workers, sleep())
	}
	for _, workload := range workloads {
		if workload.name != os.Args[2] {
			continue
		}
		took := workload.run(workload.n)
		report(workload.name, workers, []figure{{"ns", float64(took.Nanoseconds()) / float64(workload.n)}})
	}
}
