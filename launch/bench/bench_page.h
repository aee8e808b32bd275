#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

/// What `vmla bench` shows. No LibTorch here: the figures are given, and everything that is derived
/// from them can be tested with made-up ones.
namespace vmla::launch::bench {

/// Of one run: by the clock, and of this process on all its threads together. The latter keeps its
/// meaning on a machine that is busy with other work.
struct Seconds {
  double wall = 0, processor = 0;
};

/// One thing that was timed, several times.
struct Row {
  std::string name = {};
  std::vector<Seconds> runs = {};
  /// Model FLOPs of one run, on average over what is drawn (docs/algorithms.md 15); 0: not counted.
  double flops = 0;
  /// Bytes that a run must read and write at least; 0: not counted.
  double bytes = 0;
  /// Further figures, in SI units as the name says.
  std::vector<std::pair<std::string, double>> figures = {};
};

struct Spread {
  double median = 0, least = 0, most = 0, mean = 0;
};
/// Of values, of which there is at least one.
Spread spread_of(std::vector<double> values);
Spread wall_of(const Row& row);
Spread processor_of(const Row& row);

/// What the machine itself reaches, measured before the benchmark and after it: a machine that
/// slowed down meanwhile shows in that they differ.
struct MachineRates {
  double gemm_before = 0, gemm_after = 0;  // FLOP/s of the product that `mfu` in a log refers to
  double copy_before = 0, copy_after = 0;  // bytes/s, read and written, of a large copy
  double gemm() const { return (gemm_before + gemm_after) / 2; }
  double copy() const { return (copy_before + copy_after) / 2; }
};

struct Page {
  std::string program = {};    // analysis::page_origin()
  std::string benchmark = {};  // its name
  std::string subject = {};    // what was run: objective, sizes
  std::string device = {}, processor = {}, precision = {};
  int64_t threads = 1;
  MachineRates machine = {};
  std::vector<Row> rows = {};
};

/// For people: a line a row with the median and the range of its seconds, its rates, and what share
/// of the machine's they are.
std::string page_text(const Page& page);

/// For programs: {program, benchmark, subject, device, processor, precision, threads, machine:
/// {gemm_flops_before, ...}, rows: [{name, seconds: {median, least, most, mean, runs},
/// processor_seconds: the same, flops, flops_per_second, mfu, bytes, bytes_per_second,
/// share_of_copy, figures: {}}]}. What was not counted is left out.
std::string page_json(const Page& page);

}  // namespace vmla::launch::bench
