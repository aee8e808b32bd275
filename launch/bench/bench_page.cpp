#include "launch/bench/bench_page.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "model/io/format.h"

namespace vmla::launch::bench {
namespace {

using Json = nlohmann::ordered_json;

// Rates are of the mean, for FLOPs are means over what is drawn too.
double per_second(double amount, const Row& row) {
  return amount / wall_of(row).mean;
}

std::string seconds_text(double seconds) {
  if (seconds < 1e-3) return formatted("{:.1f} us", seconds * 1e6);
  if (seconds < 1) return formatted("{:.2f} ms", seconds * 1e3);
  return formatted("{:.3f} s", seconds);
}

std::string rate_text(double per_second, const char* unit) {
  const char* const prefixes[] = {"", "k", "M", "G", "T", "P"};
  size_t prefix = 0;
  for (; per_second >= 1000 && prefix + 1 < std::size(prefixes); ++prefix) per_second /= 1000;
  return formatted("{:.3g} {}{}/s", per_second, prefixes[prefix], unit);
}

std::vector<double> each(const Row& row, double Seconds::* part) {
  std::vector<double> values;
  for (const Seconds& run : row.runs) values.push_back(run.*part);
  return values;
}

Json spread_json(const std::vector<double>& values) {
  const Spread spread = spread_of(values);
  return {{"median", spread.median},
          {"least", spread.least},
          {"most", spread.most},
          {"mean", spread.mean},
          {"runs", values}};
}

Json row_json(const Row& row, const MachineRates& machine) {
  Json json = {{"name", row.name},
               {"seconds", spread_json(each(row, &Seconds::wall))},
               {"processor_seconds", spread_json(each(row, &Seconds::processor))}};
  if (row.flops > 0) {
    json["flops"] = row.flops;
    json["flops_per_second"] = per_second(row.flops, row);
    json["mfu"] = per_second(row.flops, row) / machine.gemm();
  }
  if (row.bytes > 0) {
    json["bytes"] = row.bytes;
    json["bytes_per_second"] = per_second(row.bytes, row);
    json["share_of_copy"] = per_second(row.bytes, row) / machine.copy();
  }
  json["figures"] = Json::object();
  for (const auto& [name, value] : row.figures) json["figures"][name] = value;
  return json;
}

std::string row_text(const Row& row, const MachineRates& machine) {
  const Spread wall = wall_of(row);
  std::string text = formatted("  {}: {} ({} to {}, {} runs), processor {}",
                               row.name,
                               seconds_text(wall.median),
                               seconds_text(wall.least),
                               seconds_text(wall.most),
                               row.runs.size(),
                               seconds_text(processor_of(row).median));
  if (row.flops > 0) {
    const double rate = per_second(row.flops, row);
    text += formatted("\n    {}, {:.1f} % of the product's rate (mfu)",
                      rate_text(rate, "FLOP"),
                      100 * rate / machine.gemm());
  }
  if (row.bytes > 0) {
    const double rate = per_second(row.bytes, row);
    text += formatted(
        "\n    {}, {:.1f} % of the copy's rate", rate_text(rate, "B"), 100 * rate / machine.copy());
  }
  for (const auto& [name, value] : row.figures) text += formatted("\n    {} {:.6g}", name, value);
  return text + "\n";
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t count = values.size();
  return {.median = (values[(count - 1) / 2] + values[count / 2]) / 2,
          .least = values.front(),
          .most = values.back(),
          .mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(count)};
}

Spread wall_of(const Row& row) {
  return spread_of(each(row, &Seconds::wall));
}

Spread processor_of(const Row& row) {
  return spread_of(each(row, &Seconds::processor));
}

std::string page_text(const Page& page) {
  std::string text = formatted("{}\n{}: {}\n{} ({}), {} threads, {}\n",
                               page.program,
                               page.benchmark,
                               page.subject,
                               page.device,
                               page.processor,
                               page.threads,
                               page.precision);
  text += formatted("machine, before and after: product {} and {}, copy {} and {}\n",
                    rate_text(page.machine.gemm_before, "FLOP"),
                    rate_text(page.machine.gemm_after, "FLOP"),
                    rate_text(page.machine.copy_before, "B"),
                    rate_text(page.machine.copy_after, "B"));
  for (const Row& row : page.rows) text += row_text(row, page.machine);
  return text;
}

std::string page_json(const Page& page) {
  Json json = {{"program", page.program},
               {"benchmark", page.benchmark},
               {"subject", page.subject},
               {"device", page.device},
               {"processor", page.processor},
               {"precision", page.precision},
               {"threads", page.threads},
               {"machine",
                {{"gemm_flops_before", page.machine.gemm_before},
                 {"gemm_flops_after", page.machine.gemm_after},
                 {"copy_bytes_before", page.machine.copy_before},
                 {"copy_bytes_after", page.machine.copy_after}}},
               {"rows", Json::array()}};
  for (const Row& row : page.rows) json["rows"].push_back(row_json(row, page.machine));
  return json.dump(2) + "\n";
}

}  // namespace vmla::launch::bench
