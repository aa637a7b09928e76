-- One line for run.sh. Times are in microseconds, as wrk counts them.
-- With the argument "calm", each connection pauses 10 ms before each request.
local calm = false

function init(arguments)
    calm = arguments[1] == "calm"
end

function delay()
    return calm and 10 or 0
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format("REPORT %.1f %d %d %d %d %d\n",
        summary.requests / (summary.duration / 1e6),
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
        errors.connect + errors.read + errors.write + errors.timeout + errors.status,
        summary.requests))
end
