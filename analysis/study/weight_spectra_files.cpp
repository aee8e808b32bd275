#include <algorithm>
#include <cmath>

#include "analysis/page/html_text.h"
#include "analysis/page/plot_style.h"
#include "analysis/page/short_number.h"
#include "analysis/page/svg_plot.h"
#include "analysis/report/rank_plots.h"
#include "analysis/study/weight_spectra.h"
#include "data/store/hdf5_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

// One of the three kinds of spectrum.
struct Kind {
  const char* name;   // in files
  const char* title;  // in plots
  const char* head;   // in the table
  Spectrum LayerSpectra::* member;
  const Spectrum& of(const LayerSpectra& layer) const { return layer.*member; }
};
constexpr Kind kKinds[] = {
    {.name = "k", .title = "W_K", .head = "W_K", .member = &LayerSpectra::k},
    {.name = "v", .title = "W_V", .head = "W_V", .member = &LayerSpectra::v},
    {.name = "kv", .title = "[W_K; W_V]", .head = "joint", .member = &LayerSpectra::kv}};

// Ranks that people ask about; those beyond a spectrum are left out.
std::vector<int64_t> usual_ranks(int64_t most) {
  std::vector<int64_t> ranks;
  for (const int64_t rank : {4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024}) {
    if (rank < most) ranks.push_back(rank);
  }
  return ranks;
}

// Which values of a spectrum: the singular values, or the share of the energy in the first of them
// up to and with each.
enum class Values { kSingular, kEnergy };

// [layers, n] of one kind, padded with NaN to one length (in practice the layers of a model have
// one).
data::Hdf5Array<double> stacked(const std::vector<LayerSpectra>& layers,
                                const Kind& kind,
                                Values which) {
  size_t longest = 0;
  for (const LayerSpectra& layer : layers) longest = std::max(longest, kind.of(layer).size());
  data::Hdf5Array<double> array{
      {static_cast<int64_t>(layers.size()), static_cast<int64_t>(longest)}, {}};
  for (const LayerSpectra& layer : layers) {
    const Spectrum& spectrum = kind.of(layer);
    double total = 0, kept = 0;
    for (const double s : spectrum) total += s * s;
    for (size_t i = 0; i < longest; ++i) {
      const double s = i < spectrum.size() ? spectrum[i] : NAN;
      kept += s * s;
      const double share = total > 0 ? kept / total : 0.0;
      array.values.push_back(which == Values::kEnergy ? share : s);
    }
  }
  return array;
}

void write_hdf5(const std::vector<LayerSpectra>& layers,
                const std::string& source,
                const std::filesystem::path& path) {
  const auto count = static_cast<int64_t>(layers.size());
  io::publish_file(path, [&](const std::filesystem::path& temporary) {
    data::Hdf5Writer file(temporary);
    file.fixed_text_attribute("source", source);
    for (const Kind& kind : kKinds) {
      data::Hdf5Array<int64_t> r99{{count}, {}};
      data::Hdf5Array<double> fractional{{count}, {}};
      for (const LayerSpectra& layer : layers) {
        const EffectiveRank rank = effective_rank(kind.of(layer));
        r99.values.push_back(rank.r99);
        fractional.values.push_back(rank.r99_fractional);
      }
      const std::string group = formatted("/{}", kind.name);
      file.write(group + "/spectrum", stacked(layers, kind, Values::kSingular));
      file.write(group + "/energy_at", stacked(layers, kind, Values::kEnergy));
      file.write(group + "/r99", r99);
      file.write(group + "/r99_fractional", fractional);
    }
    file.close();
  });
}

std::string csv_text(const std::vector<LayerSpectra>& layers) {
  const std::vector<int64_t> ranks = usual_ranks(static_cast<int64_t>(layers.front().kv.size()));
  std::string csv = "layer,weights,size,r99,r99_fractional,stable_rank,entropy_rank";
  for (const int64_t rank : ranks) csv += formatted(",energy_at_{}", rank);
  csv += '\n';
  for (size_t i = 0; i < layers.size(); ++i) {
    for (const Kind& kind : kKinds) {
      const Spectrum& spectrum = kind.of(layers[i]);
      const EffectiveRank rank = effective_rank(spectrum);
      csv += formatted("{},{},{},{},{:.9g},{:.9g},{:.9g}",
                       i,
                       kind.name,
                       spectrum.size(),
                       rank.r99,
                       rank.r99_fractional,
                       rank.stable_rank,
                       rank.entropy_rank);
      for (const int64_t r : ranks) csv += formatted(",{:.9g}", energy_at(spectrum, r));
      csv += '\n';
    }
  }
  return csv;
}

std::string spectra_plot(const std::vector<LayerSpectra>& layers, const Kind& kind) {
  std::vector<Series> lines;
  for (size_t i = 0; i < layers.size(); ++i) {
    lines.push_back(spectrum_line(
        kind.of(layers[i]),
        {.label = layer_label(i, layers.size()), .colour = layer_colour(i, layers.size())}));
  }
  return spectrum_lines_plot(lines,
                             {.title = formatted("Spectrum of {}", kind.title), .least = 1e-5});
}

std::string rank_plot(const std::vector<LayerSpectra>& layers) {
  std::vector<Series> plot;
  for (const Kind& kind : kKinds) {
    Series line{.label = kind.title, .colour = series_colour(plot.size()), .markers = true};
    for (size_t i = 0; i < layers.size(); ++i) {
      line.x.push_back(static_cast<double>(i));
      line.y.push_back(effective_rank(kind.of(layers[i])).r99_fractional);
    }
    plot.push_back(std::move(line));
  }
  return line_plot(
      plot,
      {.title = "99 %-energy rank by layer", .x_label = "layer", .y_label = "rank", .y_min = 0});
}

std::string rank_table(const std::vector<LayerSpectra>& layers) {
  struct Row {
    size_t layer;
    const LayerSpectra* spectra;
  };
  std::vector<Row> rows;
  for (size_t i = 0; i < layers.size(); ++i) rows.push_back({.layer = i, .spectra = &layers[i]});
  std::vector<Column<Row>> columns = {
      {"", [](const Row& row) { return formatted("layer {}", row.layer); }}};
  for (const Kind& kind : kKinds) {
    columns.push_back({formatted("r<sub>0.99</sub> {}", kind.head), [&kind](const Row& row) {
                         const Spectrum& spectrum = kind.of(*row.spectra);
                         return formatted(
                             "{} of {}", effective_rank(spectrum).r99, spectrum.size());
                       }});
    columns.push_back({"stable", [&kind](const Row& row) {
                         return short_number(effective_rank(kind.of(*row.spectra)).stable_rank);
                       }});
  }
  return table_of(columns, rows);
}

}  // namespace

void write_weight_spectra(const std::vector<LayerSpectra>& layers,
                          const std::string& source,
                          const std::filesystem::path& out) {
  std::filesystem::create_directories(out);
  write_hdf5(layers, source, out / "spectrum.h5");
  io::write_file_atomically(out / "spectrum.csv", csv_text(layers));
  std::vector<std::string> plots = {rank_plot(layers)};
  for (const Kind& kind : kKinds) {
    plots.push_back(spectra_plot(layers, kind));
    io::write_file_atomically(out / formatted("spectrum_{}.svg", kind.name),
                              standalone_svg(plots.back()));
  }
  const std::string meaning =
      "Raw weights, no gains, no biases. r<sub>0.99</sub> is the least rank that holds 99 % of the "
      "energy Σs²; the joint matrix is what one shared latent would have to carry.";
  const std::string body =
      html_section({.heading = "Spectra", .meaning = meaning, .content = plot_grid(plots)}) +
      html_section({.heading = "Ranks", .content = rank_table(layers)});
  io::write_file_atomically(
      out / "spectrum.html",
      html_page({.title = "Key and value spectra",
                 .subtitle = formatted("{} · {} layers", source, layers.size()),
                 .body = body}));
}

}  // namespace vmla::analysis
