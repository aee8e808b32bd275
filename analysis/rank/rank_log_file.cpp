#include "analysis/rank/rank_log.h"

#include "analysis/rank/subspace.h"
#include "data/store/hdf5_values.h"
#include "data/store/hdf5_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace vmla::analysis {
namespace {

template <class T>
using Array = data::Hdf5Array<T>;
using Measurements = std::vector<std::vector<LayerRank>>;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A layer of a point at which something was not measured: NaN everywhere, and -1 for a whole
// number.
const LayerRank kMissing{
    .effective = {.r99 = -1, .r99_fractional = kNaN, .stable_rank = kNaN, .entropy_rank = kNaN}};

// The sizes of a dataset that holds `budget` values where another holds one.
std::vector<int64_t> with_values(const std::vector<int64_t>& leading, int64_t budget) {
  std::vector<int64_t> sizes(leading.size() + 1, budget);
  std::ranges::copy(leading, sizes.begin());
  return sizes;
}

// One dataset for each of the four ranks and one for the spectra, all under a common prefix of
// names.
void write_measurements(data::Hdf5Writer& file,
                        const std::string& prefix,
                        const std::vector<int64_t>& leading,
                        const Measurements& measurements,
                        int64_t budget) {
  Array<int64_t> r99{leading, {}};
  Array<double> fractional{leading, {}}, stable{leading, {}}, entropy{leading, {}},
      spectrum{with_values(leading, budget), {}};
  for (const auto& layers : measurements) {
    for (const LayerRank& layer : layers) {
      r99.values.push_back(layer.effective.r99);
      fractional.values.push_back(layer.effective.r99_fractional);
      stable.values.push_back(layer.effective.stable_rank);
      entropy.values.push_back(layer.effective.entropy_rank);
      spectrum.values.insert(spectrum.values.end(), layer.spectrum.begin(), layer.spectrum.end());
      spectrum.values.insert(
          spectrum.values.end(), static_cast<size_t>(budget) - layer.spectrum.size(), kNaN);
    }
  }
  file.write(prefix + "r99", r99);
  file.write(prefix + "r99_fractional", fractional);
  file.write(prefix + "stable_rank", stable);
  file.write(prefix + "entropy_rank", entropy);
  file.write(prefix + "spectrum", spectrum);
}

// One list of RankExtras over the points; nothing where no point has it.
void write_extra_ranks(data::Hdf5Writer& file,
                       const std::string& prefix,
                       const std::vector<int64_t>& leading,
                       const std::vector<RankExtras>& extras,
                       std::vector<LayerRank> RankExtras::* list,
                       int64_t budget) {
  Measurements all;
  bool any = false;
  for (const RankExtras& extra : extras) {
    any = any || !(extra.*list).empty();
    all.push_back((extra.*list).empty()
                      ? std::vector<LayerRank>(static_cast<size_t>(leading.at(1)), kMissing)
                      : extra.*list);
  }
  if (any) write_measurements(file, prefix, leading, all, budget);
}

void write_cosines(data::Hdf5Writer& file,
                   const std::vector<int64_t>& leading,
                   const std::vector<RankExtras>& extras,
                   int64_t budget) {
  Array<double> overlap{leading, {}}, cosines{with_values(leading, budget), {}};
  bool any = false;
  for (const RankExtras& extra : extras) {
    any = any || !extra.cosines.empty();
    for (size_t layer = 0; layer < static_cast<size_t>(leading.at(1)); ++layer) {
      const Spectrum values = extra.cosines.empty() ? Spectrum{} : extra.cosines[layer];
      overlap.values.push_back(values.empty() ? kNaN : subspace_overlap(values));
      cosines.values.insert(cosines.values.end(), values.begin(), values.end());
      cosines.values.insert(
          cosines.values.end(), static_cast<size_t>(budget) - values.size(), kNaN);
    }
  }
  if (!any) return;
  file.write("/subspace_overlap", overlap);
  file.write("/subspace_cosines", cosines);
}

// The share of the energy in the first values of every spectrum.
void write_energies(data::Hdf5Writer& file, const RankLog& log) {
  const std::vector<int64_t>& ranks = log.energy_ranks();
  const auto write = [&](const std::string& prefix, const Measurements& measurements) {
    Array<double> shares;
    for (const auto& layers : measurements) {
      for (const LayerRank& layer : layers) {
        for (const int64_t rank : ranks) shares.values.push_back(energy_at(layer.spectrum, rank));
      }
    }
    if (shares.values.empty()) return;
    shares.sizes = {log.num_layers(), static_cast<int64_t>(ranks.size())};
    if (prefix == "/") shares.sizes.insert(shares.sizes.begin(), std::ssize(measurements));
    file.write(prefix + "energy_at", shares);
  };
  write("/", log.measurements());
  write("/null_", {log.nulls().product});
  write("/truncated_", {log.nulls().truncated});
  write("/shuffled_", {log.nulls().shuffled});
  write("/gaussian_", {log.nulls().gaussian});
  if (ranks.empty()) return;
  file.write("/energy_ranks", Array<double>{{std::ssize(ranks)}, {ranks.begin(), ranks.end()}});
}

void write_nulls(data::Hdf5Writer& file, const RankNulls& nulls, int64_t layers, int64_t budget) {
  const auto write = [&](const std::string& prefix, const std::vector<LayerRank>& list) {
    if (!list.empty()) write_measurements(file, prefix, {layers}, {list}, budget);
  };
  write("/null_", nulls.product);
  write("/truncated_", nulls.truncated);
  write("/shuffled_", nulls.shuffled);
  write("/gaussian_", nulls.gaussian);
  if (!nulls.shuffled.empty())
    file.write("/shuffled_step", Array<double>{{1}, {static_cast<double>(nulls.shuffled_step)}});
  if (!nulls.isotropic_overlap.empty())
    file.write("/isotropic_overlap", Array<double>{{layers}, nulls.isotropic_overlap});
}

// Datasets that older logs lack.
const std::vector<std::string> kOptional = {"/null_spectrum",
                                            "/truncated_spectrum",
                                            "/shuffled_spectrum",
                                            "/shuffled_step",
                                            "/gaussian_spectrum",
                                            "/energy_ranks",
                                            "/isotropic_overlap",
                                            "/latent_spectrum",
                                            "/content_spectrum",
                                            "/subspace_cosines"};

void check_sizes(const std::filesystem::path& path,
                 const std::string& name,
                 const std::vector<int64_t>& found,
                 const std::vector<int64_t>& expected) {
  if (found != expected) {
    fail_user("{}: {}: has sizes {}, must have {}",
              path.string(),
              name,
              c10::IntArrayRef(found),
              c10::IntArrayRef(expected));
  }
}

// The ranks are functions of the spectrum, so the spectrum and /rank are all that has to be read.
Measurements read_measurements(const std::filesystem::path& path,
                               const data::Hdf5Values& file,
                               const std::string& name,
                               int64_t count,
                               const std::vector<int64_t>& ranks,
                               const std::vector<int64_t>& sizes) {
  const Array<double>& spectra = file.doubles.at(name);
  check_sizes(path, name, spectra.sizes, sizes);
  Measurements measurements(static_cast<size_t>(count));
  const double* row = spectra.values.data();
  for (auto& layers : measurements) {
    for (const int64_t rank : ranks) {
      layers.push_back(layer_rank(Spectrum(row, row + rank)));
      row += sizes.back();
    }
  }
  return measurements;
}

// What every layer and point of a log has, for reading its optional parts.
struct LogShape {
  const std::filesystem::path& path;
  const data::Hdf5Values& file;
  const std::vector<int64_t>& ranks;
  int64_t count, layers, budget;

  std::vector<LayerRank> null(const std::string& name) const {
    if (!file.doubles.contains(name)) return {};
    return read_measurements(path, file, name, 1, ranks, {layers, budget}).front();
  }
  std::vector<double> numbers(const std::string& name, int64_t size) const {
    if (!file.doubles.contains(name)) return {};
    check_sizes(path, name, file.doubles.at(name).sizes, {size});
    return file.doubles.at(name).values;
  }
  // Empty at the points at which nothing was measured.
  Measurements extra(const std::string& name) const {
    if (!file.doubles.contains(name)) return Measurements(static_cast<size_t>(count));
    Measurements all = read_measurements(path, file, name, count, ranks, {count, layers, budget});
    for (std::vector<LayerRank>& point : all) {
      if (!point.empty() && std::isnan(point.front().spectrum.front())) point.clear();
    }
    return all;
  }
};

std::vector<RankExtras> read_extras(const LogShape& log) {
  const Measurements latents = log.extra("/latent_spectrum");
  const Measurements content = log.extra("/content_spectrum");
  const Measurements cosines = log.extra("/subspace_cosines");
  std::vector<RankExtras> extras(static_cast<size_t>(log.count));
  for (size_t i = 0; i < extras.size(); ++i) {
    extras[i] = {.latents = latents[i], .content = content[i]};
    for (const LayerRank& layer : cosines[i]) {
      // Of a latent wider than the model there are fewer than its rank.
      const auto end = std::ranges::find_if(layer.spectrum, [](double c) { return std::isnan(c); });
      extras[i].cosines.emplace_back(layer.spectrum.begin(), end);
    }
  }
  return extras;
}

std::vector<int64_t> read_energy_ranks(const LogShape& log) {
  std::vector<int64_t> ranks;
  if (!log.file.doubles.contains("/energy_ranks")) return ranks;
  for (const double rank : log.file.doubles.at("/energy_ranks").values) {
    if (!(rank >= 1 && rank <= 1e9))
      fail_user("{}: /energy_ranks: holds {:g}, must be from 1", log.path.string(), rank);
    ranks.push_back(static_cast<int64_t>(rank));
  }
  return ranks;
}

}  // namespace

void RankLog::write(const std::filesystem::path& path) const {
  const int64_t count = static_cast<int64_t>(steps_.size()), layers = num_layers();
  io::publish_file(path, [&](const std::filesystem::path& temporary) {
    data::Hdf5Writer file(temporary);
    file.attribute("rank_budget", rank_budget());
    file.fixed_text_attribute("init", init_);
    file.write("/steps", Array<int64_t>{{count}, steps_});
    Array<int64_t> ranks{{layers}, {}};
    for (const LayerRank& layer : measurements_.empty() ? null() : measurements_.front()) {
      ranks.values.push_back(layer.rank);
    }
    file.write("/rank", ranks);
    write_measurements(file, "/", {count, layers}, measurements_, rank_budget());
    write_nulls(file, nulls_, layers, rank_budget());
    write_extra_ranks(
        file, "/latent_", {count, layers}, extras_, &RankExtras::latents, rank_budget());
    write_extra_ranks(
        file, "/content_", {count, layers}, extras_, &RankExtras::content, rank_budget());
    write_cosines(file, {count, layers}, extras_, rank_budget());
    write_energies(file, *this);
    file.close();
  });
}

RankLog RankLog::read(const std::filesystem::path& path) {
  data::Hdf5Values file = data::read_hdf5_values(path,
                                                 "a rank log (vmla analyze rank writes one)",
                                                 {.doubles = {"/spectrum"},
                                                  .integers = {"/steps", "/rank"},
                                                  .optional_doubles = kOptional,
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
  const LogShape shape{path, file, ranks, count, layers, budget};
  log.nulls_ = {.product = shape.null("/null_spectrum"),
                .truncated = shape.null("/truncated_spectrum"),
                .shuffled = shape.null("/shuffled_spectrum"),
                .gaussian = shape.null("/gaussian_spectrum"),
                .isotropic_overlap = shape.numbers("/isotropic_overlap", layers)};
  const std::vector<double> step = shape.numbers("/shuffled_step", 1);
  if (!step.empty()) log.nulls_.shuffled_step = static_cast<int64_t>(step.front());
  log.energy_ranks_ = read_energy_ranks(shape);
  log.extras_ = read_extras(shape);
  return log;
}

}  // namespace vmla::analysis
