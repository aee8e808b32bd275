#include "analysis/rank/rank_log.h"

#include "data/store/hdf5_values.h"
#include "data/store/hdf5_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"

#include <ATen/ATen.h>

#include <limits>

namespace vmla::analysis {
namespace {

template <class T>
using Array = data::Hdf5Array<T>;
using Measurements = std::vector<std::vector<LayerRank>>;

// One dataset for each of the four ranks and one for the spectra, all under a common prefix of
// names.
void write_measurements(data::Hdf5Writer& file,
                        const std::string& prefix,
                        std::vector<int64_t> leading,
                        const Measurements& measurements,
                        int64_t budget) {
  Array<int64_t> r99{leading, {}};
  Array<double> fractional{leading, {}}, stable{leading, {}}, entropy{leading, {}},
      spectrum{leading, {}};
  spectrum.sizes.push_back(budget);
  for (const auto& layers : measurements) {
    for (const LayerRank& layer : layers) {
      r99.values.push_back(layer.effective.r99);
      fractional.values.push_back(layer.effective.r99_fractional);
      stable.values.push_back(layer.effective.stable_rank);
      entropy.values.push_back(layer.effective.entropy_rank);
      spectrum.values.insert(spectrum.values.end(), layer.spectrum.begin(), layer.spectrum.end());
      spectrum.values.insert(spectrum.values.end(),
                             static_cast<size_t>(budget) - layer.spectrum.size(),
                             std::numeric_limits<double>::quiet_NaN());
    }
  }
  file.write(prefix + "r99", r99);
  file.write(prefix + "r99_fractional", fractional);
  file.write(prefix + "stable_rank", stable);
  file.write(prefix + "entropy_rank", entropy);
  file.write(prefix + "spectrum", spectrum);
}

// The ranks are functions of the spectrum, so the spectrum and /rank are all that has to be read.
Measurements read_measurements(const std::filesystem::path& path,
                               const data::Hdf5Values& file,
                               const std::string& name,
                               int64_t count,
                               const std::vector<int64_t>& ranks,
                               const std::vector<int64_t>& sizes) {
  const Array<double>& spectra = file.doubles.at(name);
  if (spectra.sizes != sizes) {
    fail_user("{}: {}: has sizes {}, must have {}",
              path.string(),
              name,
              c10::IntArrayRef(spectra.sizes),
              c10::IntArrayRef(sizes));
  }
  Measurements measurements(static_cast<size_t>(count));
  const double* row = spectra.values.data();
  for (auto& layers : measurements) {
    for (const int64_t rank : ranks) {
      LayerRank layer{rank, Spectrum(row, row + rank), {}};
      layer.effective = effective_rank(layer.spectrum);
      layers.push_back(std::move(layer));
      row += sizes.back();
    }
  }
  return measurements;
}

// Mean over the layers of r_0.99 / budget; 0 without layers.
double rank_share_of(const std::vector<LayerRank>& layers) {
  double sum = 0;
  for (const LayerRank& layer : layers) {
    sum += layer.effective.r99_fractional / static_cast<double>(layer.rank);
  }
  return layers.empty() ? 0 : sum / static_cast<double>(layers.size());
}

}  // namespace

void RankLog::append(int64_t step, std::vector<LayerRank> layers) {
  TORCH_CHECK(steps_.empty() || step > steps_.back(),
              "rank log: step ",
              step,
              " after step ",
              steps_.empty() ? 0 : steps_.back());
  TORCH_CHECK(measurements_.empty() || layers.size() == measurements_.front().size(),
              "rank log: ",
              layers.size(),
              " layers after a measurement with another number");
  steps_.push_back(step);
  measurements_.push_back(std::move(layers));
}

void RankLog::set_null(std::vector<LayerRank> layers) {
  null_ = std::move(layers);
}

void RankLog::cut_back(int64_t step) {
  while (!steps_.empty() && steps_.back() > step) {
    steps_.pop_back();
    measurements_.pop_back();
  }
}

int64_t RankLog::num_layers() const {
  return measurements_.empty() ? static_cast<int64_t>(null_.size())
                               : static_cast<int64_t>(measurements_.front().size());
}

int64_t RankLog::rank_budget() const {
  int64_t budget = 0;
  for (const LayerRank& layer : measurements_.empty() ? null_ : measurements_.front()) {
    budget = std::max(budget, layer.rank);
  }
  return budget;
}

void RankLog::write(const std::filesystem::path& path) const {
  const int64_t count = static_cast<int64_t>(steps_.size()), layers = num_layers();
  io::publish_file(path, [&](const std::filesystem::path& temporary) {
    data::Hdf5Writer file(temporary);
    file.attribute("rank_budget", rank_budget());
    file.fixed_text_attribute("init", init_);
    file.write("/steps", Array<int64_t>{{count}, steps_});
    Array<int64_t> ranks{{layers}, {}};
    for (const LayerRank& layer : measurements_.empty() ? null_ : measurements_.front()) {
      ranks.values.push_back(layer.rank);
    }
    file.write("/rank", ranks);
    write_measurements(file, "/", {count, layers}, measurements_, rank_budget());
    if (!null_.empty()) write_measurements(file, "/null_", {layers}, {null_}, rank_budget());
    file.close();
  });
}

RankLog RankLog::read(const std::filesystem::path& path) {
  data::Hdf5Values file = data::read_hdf5_values(path,
                                                 "a rank log (vmla analyze rank writes one)",
                                                 {.doubles = {"/spectrum"},
                                                  .integers = {"/steps", "/rank"},
                                                  .optional_doubles = {"/null_spectrum"},
                                                  .integer_attributes = {"rank_budget"},
                                                  .text_attributes = {"init"}});
  RankLog log(file.text_attributes.at("init"));
  log.steps_ = std::move(file.integers.at("/steps").values);
  const std::vector<int64_t>& ranks = file.integers.at("/rank").values;
  const int64_t budget = file.integer_attributes.at("rank_budget");
  for (const int64_t rank : ranks) {
    if (rank < 1 || rank > budget) {
      fail_user(
          "{}: /rank: holds {}, must be from 1 to the rank budget {}", path.string(), rank, budget);
    }
  }
  const int64_t count = static_cast<int64_t>(log.steps_.size()),
                layers = static_cast<int64_t>(ranks.size());
  log.measurements_ =
      read_measurements(path, file, "/spectrum", count, ranks, {count, layers, budget});
  if (file.doubles.contains("/null_spectrum")) {
    log.null_ = read_measurements(path, file, "/null_spectrum", 1, ranks, {layers, budget}).front();
  }
  return log;
}

double mean_rank_share(const RankLog& ranks, size_t index) {
  return rank_share_of(ranks.measurements().at(index));
}

double last_rank_share(const RankLog& ranks) {
  return rank_share_of(ranks.measurements().back());
}

double null_rank_share(const RankLog& ranks) {
  return rank_share_of(ranks.null());
}

}  // namespace vmla::analysis
