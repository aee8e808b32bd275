#include "analysis/study/weight_spectra.h"

#include <ATen/ATen.h>
#include <yaml-cpp/yaml.h>

#include "analysis/page/html_text.h"
#include "analysis/page/short_number.h"
#include "analysis/page/svg_plot.h"
#include "data/store/hdf5_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

/// One of the three kinds of spectrum: its name in files, its name for people, where it is.
struct Kind {
  const char* name;
  const char* title;
  Spectrum LayerSpectra::* member;
};
constexpr Kind kKinds[] = {{"k", "W_K", &LayerSpectra::k},
                           {"v", "W_V", &LayerSpectra::v},
                           {"kv", "[W_K; W_V]", &LayerSpectra::kv}};

// Ranks that people ask about; those beyond a spectrum are left out.
std::vector<int64_t> usual_ranks(int64_t most) {
  std::vector<int64_t> ranks;
  for (const int64_t rank : {4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024}) {
    if (rank < most) ranks.push_back(rank);
  }
  return ranks;
}

std::string name_of(const std::string& pattern, int64_t layer) {
  const size_t at = pattern.find("{layer}");
  return at == std::string::npos
             ? pattern
             : pattern.substr(0, at) + std::to_string(layer) + pattern.substr(at + 7);
}

const at::Tensor* find(const model::TensorMap& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  return found == tensors.end() ? nullptr : &found->second;
}

void check_matrix(const at::Tensor& weight,
                  const std::string& name,
                  int64_t width,
                  const std::string& source) {
  if (weight.dim() == 2 && weight.numel() > 0 && at::isFloatingType(weight.scalar_type()) &&
      (width < 0 || weight.size(1) == width)) {
    if (weight.isfinite().all().item<bool>()) return;
    fail_user("{}: the tensor {} holds NaN or infinity", source, name);
  }
  fail_user("{}: the tensor {} has sizes {}; expected a matrix{}",
            source,
            name,
            weight.sizes(),
            width < 0 ? std::string() : formatted(" with {} columns, as its layer's keys", width));
}

LayerSpectra spectra_of(const at::Tensor& k_weight, const at::Tensor& v_weight) {
  const at::Tensor k = k_weight.to(at::kDouble), v = v_weight.to(at::kDouble);
  const at::Tensor k_gram = k.t().mm(k), v_gram = v.t().mm(v);
  // A matrix with m rows has at most m singular values, its Gram matrix as many eigenvalues as
  // columns.
  const auto of_gram = [](const at::Tensor& gram, int64_t rows) {
    Spectrum spectrum = spectrum_of_gram(gram);
    spectrum.resize(static_cast<size_t>(std::min<int64_t>(rows, gram.size(0))));
    return spectrum;
  };
  return {of_gram(k_gram, k.size(0)),
          of_gram(v_gram, v.size(0)),
          of_gram(k_gram + v_gram, k.size(0) + v.size(0))};
}

// All layers of one kind, padded with NaN to one length (layers of a model have one length in
// practice).
data::Hdf5Array<double> stacked(const std::vector<LayerSpectra>& layers,
                                const Kind& kind,
                                bool energy) {
  size_t longest = 0;
  for (const LayerSpectra& layer : layers) longest = std::max(longest, (layer.*kind.member).size());
  data::Hdf5Array<double> array{
      {static_cast<int64_t>(layers.size()), static_cast<int64_t>(longest)}, {}};
  for (const LayerSpectra& layer : layers) {
    const Spectrum& spectrum = layer.*kind.member;
    double total = 0, kept = 0;
    for (const double s : spectrum) total += s * s;
    for (size_t i = 0; i < longest; ++i) {
      const double s = i < spectrum.size() ? spectrum[i] : NAN;
      kept += s * s;
      array.values.push_back(!energy ? s : (total > 0 ? kept / total : 0.0));
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
        const EffectiveRank rank = effective_rank(layer.*kind.member);
        r99.values.push_back(rank.r99);
        fractional.values.push_back(rank.r99_fractional);
      }
      const std::string group = formatted("/{}", kind.name);
      file.write(group + "/spectrum", stacked(layers, kind, false));
      file.write(group + "/energy_at", stacked(layers, kind, true));
      file.write(group + "/r99", r99);
      file.write(group + "/r99_fractional", fractional);
    }
    file.close();
  });
}

std::string csv_text(const std::vector<LayerSpectra>& layers) {
  std::ostringstream out;
  out.precision(9);
  const std::vector<int64_t> ranks = usual_ranks(static_cast<int64_t>(layers.front().kv.size()));
  out << "layer,weights,size,r99,r99_fractional,stable_rank,entropy_rank";
  for (const int64_t rank : ranks) out << ",energy_at_" << rank;
  out << '\n';
  for (size_t i = 0; i < layers.size(); ++i) {
    for (const Kind& kind : kKinds) {
      const Spectrum& spectrum = layers[i].*kind.member;
      const EffectiveRank rank = effective_rank(spectrum);
      out << i << ',' << kind.name << ',' << spectrum.size() << ',' << rank.r99 << ','
          << rank.r99_fractional << ',' << rank.stable_rank << ',' << rank.entropy_rank;
      for (const int64_t r : ranks) out << ',' << energy_at(spectrum, r);
      out << '\n';
    }
  }
  return out.str();
}

std::string spectra_plot(const std::vector<LayerSpectra>& layers, const Kind& kind) {
  std::vector<Series> plot;
  double least = 1;
  for (size_t i = 0; i < layers.size(); ++i) {
    const Spectrum& spectrum = layers[i].*kind.member;
    const bool in_legend = layers.size() <= 8 || i == 0 || i + 1 == layers.size();
    Series line{in_legend ? formatted("layer {}", i) : "", {}, {}, layer_colour(i, layers.size())};
    for (size_t k = 0; k < spectrum.size(); ++k) {
      const double share = spectrum.front() > 0 ? spectrum[k] / spectrum.front() : 0;
      line.x.push_back(static_cast<double>(k + 1));
      line.y.push_back(share);
      if (share > 0) least = std::min(least, share);
    }
    plot.push_back(std::move(line));
  }
  PlotOptions options{.title = formatted("Spectrum of {}", kind.title),
                      .x_label = "index i of the singular value",
                      .y_label = "s(i) / s(1)",
                      .log_y = true};
  options.y_min = std::max(0.8 * least, 1e-5);
  options.y_max = 1.15;
  return line_plot(plot, options);
}

std::string rank_plot(const std::vector<LayerSpectra>& layers) {
  std::vector<Series> plot;
  for (size_t k = 0; k < std::size(kKinds); ++k) {
    Series line{kKinds[k].title, {}, {}, series_colour(k), false, false, true};
    for (size_t i = 0; i < layers.size(); ++i) {
      line.x.push_back(static_cast<double>(i));
      line.y.push_back(effective_rank(layers[i].*kKinds[k].member).r99_fractional);
    }
    plot.push_back(std::move(line));
  }
  return line_plot(
      plot,
      {.title = "99 %-energy rank by layer", .x_label = "layer", .y_label = "rank", .y_min = 0});
}

std::string rank_table(const std::vector<LayerSpectra>& layers) {
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < layers.size(); ++i) {
    std::vector<std::string> row = {formatted("layer {}", i)};
    for (const Kind& kind : kKinds) {
      const EffectiveRank rank = effective_rank(layers[i].*kind.member);
      row.push_back(formatted("{} of {}", rank.r99, (layers[i].*kind.member).size()));
      row.push_back(short_number(rank.stable_rank));
    }
    rows.push_back(row);
  }
  return table({"",
                "r<sub>0.99</sub> W_K",
                "stable",
                "r<sub>0.99</sub> W_V",
                "stable",
                "r<sub>0.99</sub> joint",
                "stable"},
               rows);
}

}  // namespace

KvNames read_kv_names(const std::filesystem::path& yaml) {
  KvNames names;
  YAML::Node map;
  try {
    map = YAML::Load(io::read_text_file(yaml));
  } catch (const YAML::Exception& error) {
    fail_user("{}: not valid yaml: {}", yaml.string(), error.what());
  }
  if (!map.IsMap())
    fail_user("{}: expected a map from our tensor names to the file's", yaml.string());
  for (const auto& entry : map) {
    const std::string key = entry.first.as<std::string>("");
    const KvNames ours;
    std::string* target = key == "k" || key == ours.k   ? &names.k
                          : key == "v" || key == ours.v ? &names.v
                                                        : nullptr;
    if (target == nullptr) {
      fail_user("{}: unknown key '{}'; valid are '{}' and '{}' (or k and v)",
                yaml.string(),
                key,
                ours.k,
                ours.v);
    }
    if (!entry.second.IsScalar() || entry.second.Scalar().find("{layer}") == std::string::npos) {
      fail_user(
          "{}: the value of '{}' must be a tensor name with {{layer}} where the number stands",
          yaml.string(),
          key);
    }
    *target = entry.second.Scalar();
  }
  return names;
}

std::vector<LayerSpectra> weight_spectra(const model::TensorMap& tensors,
                                         const KvNames& names,
                                         const std::string& source) {
  std::vector<LayerSpectra> layers;
  for (int64_t i = 0;; ++i) {
    const std::string k_name = name_of(names.k, i), v_name = name_of(names.v, i);
    const at::Tensor* k = find(tensors, k_name);
    const at::Tensor* v = find(tensors, v_name);
    if (k == nullptr && v == nullptr) break;
    if (k == nullptr || v == nullptr) {
      fail_user("{}: has {} but no {}",
                source,
                k == nullptr ? v_name : k_name,
                k == nullptr ? k_name : v_name);
    }
    check_matrix(*k, k_name, -1, source);
    check_matrix(*v, v_name, k->size(1), source);
    layers.push_back(spectra_of(*k, *v));
  }
  if (layers.empty()) {
    fail_user(
        "{}: has no tensor {}; this command needs a dense model (for latent attention use `vmla "
        "analyze rank`), or a --map to its names",
        source,
        name_of(names.k, 0));
  }
  return layers;
}

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
      "energy Σs²; the joint matrix is "
      "what one shared latent would have to carry.";
  io::write_file_atomically(out / "spectrum.html",
                            html_page("Key and value spectra",
                                      formatted("{} · {} layers", source, layers.size()),
                                      section("Spectra", meaning, plot_grid(plots)) +
                                          section("Ranks", "", rank_table(layers))));
}

}  // namespace vmla::analysis
