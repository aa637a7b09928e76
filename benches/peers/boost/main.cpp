// The workloads of benches/ on Boost.Fiber. Prints "workload|Boost.Fiber|workers|ns|ns per operation".
//
//     peers-boost WORKERS WORKLOAD
//     peers-boost WORKERS             lists the workloads
//
// Round robin on one kernel thread, work sharing on more: the schedulers that come with it.
#include <boost/fiber/all.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace fibers = boost::fibers;
using clock_type = std::chrono::steady_clock;
using nanoseconds = std::chrono::duration<double, std::nano>;

static double since(clock_type::time_point start) { return nanoseconds(clock_type::now() - start).count(); }

// A sender of an unbounded stream yields after so many words.
static const int burst = 256;

static double yield(int count, long n) {
    auto start = clock_type::now();
    std::vector<fibers::fiber> threads;
    for (int i = 0; i < count; i++)
        threads.emplace_back([count, n] {
            for (long at = 0; at < n / count; at++) boost::this_fiber::yield();
        });
    for (auto &thread : threads) thread.join();
    return since(start);
}

// Spawned so many at a time, then joined; each yields once.
static double spawn_join(long count, long n) {
    auto start = clock_type::now();
    std::vector<fibers::fiber> threads;
    for (long at = 0; at < n / count; at++) {
        for (long i = 0; i < count; i++) threads.emplace_back([] { boost::this_fiber::yield(); });
        for (auto &thread : threads) thread.join();
        threads.clear();
    }
    return since(start);
}

static double ping_pong(long n) {
    fibers::unbuffered_channel<std::uint64_t> ping, pong;
    fibers::fiber partner([&] {
        std::uint64_t word;
        while (ping.pop(word) == fibers::channel_op_status::success) pong.push(word);
    });
    ping.push(0);
    pong.value_pop();
    auto start = clock_type::now();
    for (long word = 0; word < n; word++) {
        ping.push(word);
        pong.value_pop();
    }
    double took = since(start);
    ping.close();
    partner.join();
    return took;
}

static double bounded(int senders, int receivers, long n) {
    // One of its places stays empty, and their number is a power of two.
    fibers::buffered_channel<std::uint64_t> channel(1024);
    long each = n / (senders * receivers);
    auto start = clock_type::now();
    std::vector<fibers::fiber> threads;
    for (int i = 0; i < receivers; i++)
        threads.emplace_back([&, each, senders] {
            std::uint64_t word;
            for (long at = 0; at < each * senders; at++) channel.pop(word);
        });
    for (int i = 0; i < senders; i++)
        threads.emplace_back([&, each, receivers] {
            for (long at = 0; at < each * receivers; at++) channel.push(at);
        });
    for (auto &thread : threads) thread.join();
    return since(start);
}

// Boost.Fiber has no unbounded channel: a list behind a mutex and a condition variable, as one writes it.
static double many_to_one(long n) {
    const int senders = 4;
    fibers::mutex mutex;
    fibers::condition_variable comes;
    std::deque<std::uint64_t> words;
    auto start = clock_type::now();
    std::vector<fibers::fiber> threads;
    for (int i = 0; i < senders; i++)
        threads.emplace_back([&, n] {
            for (long word = 1; word <= n / senders; word++) {
                {
                    std::lock_guard<fibers::mutex> guard(mutex);
                    words.push_back(word);
                }
                comes.notify_one();
                if (word % burst == 0) boost::this_fiber::yield();
            }
        });
    for (long got = 0; got < n / senders * senders;) {
        std::deque<std::uint64_t> batch;
        std::unique_lock<fibers::mutex> guard(mutex);
        comes.wait(guard, [&] { return !words.empty(); });
        batch.swap(words);
        got += batch.size();
    }
    for (auto &thread : threads) thread.join();
    return since(start);
}

static double contended_mutex(long n) {
    const int count_of_threads = 8;
    fibers::mutex mutex;
    long count = 0;
    auto start = clock_type::now();
    std::vector<fibers::fiber> threads;
    for (int i = 0; i < count_of_threads; i++)
        threads.emplace_back([&, n] {
            for (long at = 0; at < n / count_of_threads; at++) {
                std::lock_guard<fibers::mutex> guard(mutex);
                count++;
            }
        });
    for (auto &thread : threads) thread.join();
    if (count != n / count_of_threads * count_of_threads) std::abort();
    return since(start);
}

struct Workload {
    const char *name;
    long n;
    std::function<double(long)> run;
};

int main(int argc, char **argv) {
    int workers = argc > 1 ? std::atoi(argv[1]) : 1;
    // Its ping-pong over two kernel threads takes some thirty times as long.
    long slow = workers > 1 ? 10 : 1;
    std::vector<Workload> workloads = {
        {"yield 2", 1000000, [](long n) { return yield(2, n); }},
        {"yield 1,000", 1000000, [](long n) { return yield(1000, n); }},
        {"spawn + join", 200000 / slow, [](long n) { return spawn_join(1, n); }},
        {"spawn 100,000", 100000, [](long n) { return spawn_join(100000, n); }},
        {"channel ping-pong", 300000 / slow, ping_pong},
        {"bounded 1:1", 2000000 / slow, [](long n) { return bounded(1, 1, n); }},
        {"bounded 4:4", 2000000 / slow, [](long n) { return bounded(4, 4, n); }},
        {"unbounded 4:1", 2000000 / slow, many_to_one},
        {"mutex by 8", 4000000 / slow, contended_mutex},
    };
    if (argc <= 2) {
        for (auto &workload : workloads) std::puts(workload.name);
        return 0;
    }
    std::string wanted = argv[2];
    fibers::mutex mutex;
    fibers::condition_variable_any ended;
    bool end = false;
    std::vector<std::thread> others;
    if (workers > 1) {
        for (int i = 1; i < workers; i++)
            others.emplace_back([&] {
                fibers::use_scheduling_algorithm<fibers::algo::shared_work>(true);
                std::unique_lock<fibers::mutex> guard(mutex);
                ended.wait(guard, [&] { return end; });
            });
        fibers::use_scheduling_algorithm<fibers::algo::shared_work>(true);
    }
    for (auto &workload : workloads) {
        if (workload.name != wanted) continue;
        double took = 0;
        // The main context stays on its kernel thread; what is measured does not.
        fibers::fiber([&] { took = workload.run(workload.n); }).join();
        std::printf("%s|Boost.Fiber|%d|ns|%.1f\n", workload.name, workers, took / workload.n);
        std::fflush(stdout);
    }
    {
        std::lock_guard<fibers::mutex> guard(mutex);
        end = true;
    }
    ended.notify_all();
    for (auto &other : others) other.join();
}
