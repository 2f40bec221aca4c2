"""P9 with ten million charges: some minutes and six gigabytes of disk, so only when it is named."""

from benchmarks.growth import benchmark

BENCHMARK = benchmark(10_000_000)
