#include <algorithm>
#include <cmath>

#include "analysis/page/plot_style.h"
#include "analysis/study/spectra_kinds.h"
#include "data/store/hdf5_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

// Ranks that people ask about; those beyond a spectrum are left out.
std::vector<int64_t> usual_ranks(int64_t most) {
  std::vector<int64_t> ranks;
  for (const int64_t rank : {4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024}) {
    if (rank < most) ranks.push_back(rank);
  }
  return ranks;
}

double energy_of(const Spectrum& spectrum) {
  double energy = 0;
  for (const double s : spectrum) energy += s * s;
  return energy;
}

// The share of the energy in the first values up to and with each.
Spectrum energy_shares(const Spectrum& spectrum) {
  const double total = energy_of(spectrum);
  Spectrum shares;
  double kept = 0;
  for (const double s : spectrum) {
    kept += s * s;
    shares.push_back(total > 0 ? kept / total : 0.0);
  }
  return shares;
}

// One row a layer, padded with NaN to one length (in practice the layers of a model have one).
data::Hdf5Array<double> stacked(const std::vector<Spectrum>& rows) {
  size_t longest = 0;
  for (const Spectrum& row : rows) longest = std::max(longest, row.size());
  data::Hdf5Array<double> array{{static_cast<int64_t>(rows.size()), static_cast<int64_t>(longest)},
                                {}};
  for (const Spectrum& row : rows) {
    array.values.insert(array.values.end(), row.begin(), row.end());
    array.values.insert(array.values.end(), longest - row.size(), NAN);
  }
  return array;
}

// What one kind of matrix has, layer after layer.
void write_kind(data::Hdf5Writer& file, const WeightSpectra& spectra, const SpectraKind& kind) {
  const auto count = static_cast<int64_t>(spectra.layers.size());
  std::vector<Spectrum> values, energy, shuffled, gaussian;
  data::Hdf5Array<int64_t> r99{{count}, {}}, above{{count}, {}};
  data::Hdf5Array<double> fractional{{count}, {}}, entropy{{count}, {}}, edge{{count}, {}};
  for (const LayerSpectra& layer : spectra.layers) {
    const MatrixSpectra& matrix = kind.of(layer);
    const EffectiveRank rank = effective_rank(matrix.values);
    values.push_back(matrix.values);
    energy.push_back(energy_shares(matrix.values));
    shuffled.push_back(matrix.shuffled);
    gaussian.push_back(gaussian_null(spectra, matrix));
    r99.values.push_back(rank.r99);
    fractional.values.push_back(rank.r99_fractional);
    entropy.values.push_back(rank.entropy_rank);
    edge.values.push_back(matrix.edge);
    above.values.push_back(matrix.above_edge);
  }
  const std::string group = formatted("/{}/", kind.name);
  file.write(group + "spectrum", stacked(values));
  file.write(group + "energy_at", stacked(energy));
  file.write(group + "entropy_rank", entropy);
  file.write(group + "r99", r99);
  file.write(group + "r99_fractional", fractional);
  file.write(group + "null_spectrum", stacked(gaussian));
  file.write(group + "shuffled_spectrum", stacked(shuffled));
  file.write(group + "mp_edge", edge);
  file.write(group + "above_edge", above);
}

// [layers, heads, n]; all heads of all layers have as many values, or none are written.
void write_heads(data::Hdf5Writer& file, const WeightSpectra& spectra) {
  const std::vector<Spectrum>& first = spectra.layers.front().heads;
  if (first.empty()) return;
  data::Hdf5Array<double> array{{static_cast<int64_t>(spectra.layers.size()),
                                 static_cast<int64_t>(first.size()),
                                 static_cast<int64_t>(first.front().size())},
                                {}};
  for (const LayerSpectra& layer : spectra.layers) {
    for (const Spectrum& head : layer.heads) {
      if (head.size() != first.front().size()) return;
      array.values.insert(array.values.end(), head.begin(), head.end());
    }
  }
  file.write("/heads/spectrum", array);
}

void write_hdf5(const WeightSpectra& spectra,
                const std::string& source,
                const std::filesystem::path& path) {
  io::publish_file(path, [&](const std::filesystem::path& temporary) {
    data::Hdf5Writer file(temporary);
    file.fixed_text_attribute("source", source);
    data::Hdf5Array<int64_t> numbers{{static_cast<int64_t>(spectra.layers.size())}, {}};
    for (const LayerSpectra& layer : spectra.layers) numbers.values.push_back(layer.layer);
    file.write("/layers", numbers);
    for (const SpectraKind& kind : kSpectraKinds) write_kind(file, spectra, kind);
    write_heads(file, spectra);
    file.close();
  });
}

std::string csv_text(const WeightSpectra& spectra) {
  const std::vector<int64_t> ranks =
      usual_ranks(static_cast<int64_t>(spectra.layers.front().kv.values.size()));
  std::string csv =
      "layer,weights,size,entropy_rank,r99,r99_fractional,stable_rank,null_entropy_rank,null_r99_"
      "fractional,shuffled_entropy_rank,shuffled_r99_fractional,above_mp_edge";
  for (const int64_t rank : ranks) csv += formatted(",energy_at_{}", rank);
  for (const int64_t rank : ranks) csv += formatted(",null_energy_at_{}", rank);
  csv += '\n';
  for (const LayerSpectra& layer : spectra.layers) {
    for (const SpectraKind& kind : kSpectraKinds) {
      const MatrixSpectra& matrix = kind.of(layer);
      const Spectrum& null = spectra.gaussian.at({matrix.rows, matrix.columns});
      const EffectiveRank rank = effective_rank(matrix.values);
      const EffectiveRank of_null = effective_rank(null);
      const EffectiveRank of_shuffled = effective_rank(matrix.shuffled);
      csv += formatted("{},{},{},{:.9g},{},{:.9g},{:.9g}",
                       layer.layer,
                       kind.name,
                       matrix.values.size(),
                       rank.entropy_rank,
                       rank.r99,
                       rank.r99_fractional,
                       rank.stable_rank);
      csv += formatted(",{:.9g},{:.9g},{:.9g},{:.9g},{}",
                       of_null.entropy_rank,
                       of_null.r99_fractional,
                       of_shuffled.entropy_rank,
                       of_shuffled.r99_fractional,
                       matrix.above_edge);
      for (const int64_t r : ranks) csv += formatted(",{:.9g}", energy_at(matrix.values, r));
      for (const int64_t r : ranks) csv += formatted(",{:.9g}", energy_at(null, r));
      csv += '\n';
    }
  }
  return csv;
}

std::string heads_csv_text(const WeightSpectra& spectra) {
  std::string csv =
      "layer,head,size,entropy_rank,r99,r99_fractional,stable_rank,null_entropy_rank\n";
  for (const LayerSpectra& layer : spectra.layers) {
    const int64_t rows = layer.kv.rows / static_cast<int64_t>(layer.heads.size());
    const double null = effective_rank(spectra.gaussian.at({rows, layer.kv.columns})).entropy_rank;
    for (size_t head = 0; head < layer.heads.size(); ++head) {
      const EffectiveRank rank = effective_rank(layer.heads[head]);
      csv += formatted("{},{},{},{:.9g},{},{:.9g},{:.9g},{:.9g}\n",
                       layer.layer,
                       head,
                       layer.heads[head].size(),
                       rank.entropy_rank,
                       rank.r99,
                       rank.r99_fractional,
                       rank.stable_rank,
                       null);
    }
  }
  return csv;
}

}  // namespace

Spectrum gaussian_null(const WeightSpectra& spectra, const MatrixSpectra& matrix) {
  Spectrum null = spectra.gaussian.at({matrix.rows, matrix.columns});
  const double scale = std::sqrt(energy_of(matrix.values) / energy_of(null));
  for (double& s : null) s *= scale;
  return null;
}

void write_weight_spectra(const WeightSpectra& spectra,
                          const std::string& source,
                          const std::filesystem::path& out) {
  std::filesystem::create_directories(out);
  write_hdf5(spectra, source, out / "spectrum.h5");
  io::write_file_atomically(out / "spectrum.csv", csv_text(spectra));
  if (!spectra.layers.front().heads.empty())
    io::write_file_atomically(out / "spectrum_heads.csv", heads_csv_text(spectra));
  const SpectraPage page = weight_spectra_page(spectra, source);
  for (const auto& [name, svg] : page.figures)
    io::write_file_atomically(out / name, standalone_svg(svg));
  io::write_file_atomically(out / "spectrum.html", page.html);
}

}  // namespace vmla::analysis
