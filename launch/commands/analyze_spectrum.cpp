#include "launch/commands/analyze_spectrum.h"

#include "analysis/study/weight_spectra.h"
#include "model/formats/load_weights.h"
#include "model/formats/tensor_file.h"
#include "model/io/checkpoint_manifest.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"

#include <filesystem>

namespace vmla::launch {
namespace {

namespace fs = std::filesystem;

/// Keys and values of a file, and their number of heads where it is known (else 0).
struct FoundWeights {
  std::vector<analysis::KvWeights> layers;
  int64_t kv_heads = 0;
  std::string source;
};

/// Whether only load_weights() finds the weights: in a checkpoint, or in the folder `transformer`
/// of a diffusers pipeline.
bool needs_loading(const fs::path& path) {
  return !io::find_checkpoint(path).empty() || fs::exists(path / "transformer" / "config.json");
}

FoundWeights load_own(const std::string& path) {
  const model::LoadedWeights weights = model::load_weights(path);
  return {.layers = analysis::kv_weights(weights.tensors, {}, weights.source),
          .kv_heads = weights.config_is_complete ? weights.config.num_heads : 0,
          .source = weights.source};
}

FoundWeights find_weights(const AnalyzeSpectrumArgs& args) {
  const std::string& path = args.weights;
  if (!args.map.empty()) {
    const analysis::KvNames names = analysis::read_kv_names(args.map);
    return {.layers = analysis::kv_weights(model::read_tensors(path), names, path), .source = path};
  }
  if (needs_loading(path)) return load_own(path);
  const model::TensorMap tensors = model::read_tensors(path);
  if (analysis::has_wan_names(tensors)) return load_own(path);
  const analysis::KvNames names = analysis::recognise_kv_names(tensors, path);
  return {.layers = analysis::kv_weights(tensors, names, path), .source = path};
}

}  // namespace

int run(const AnalyzeSpectrumArgs& args) {
  const FoundWeights found = find_weights(args);
  const int64_t heads = args.kv_heads.value_or(found.kv_heads);
  const analysis::WeightSpectra spectra =
      analysis::weight_spectra(found.layers, heads, found.source);
  analysis::write_weight_spectra(spectra, found.source, args.out);
  for (const analysis::LayerSpectra& layer : spectra.layers) {
    const auto rank = [](const analysis::Spectrum& s) { return analysis::effective_rank(s); };
    const analysis::MatrixSpectra& kv = layer.kv;
    const auto null = rank(spectra.gaussian.at({kv.rows, kv.columns}));
    log::info(
        "layer {}: entropy rank of W_K {:.1f}, W_V {:.1f}, joint {:.1f} of {} (independent "
        "entries {:.1f}); r_0.99 {}, {}, {} ({})",
        layer.layer,
        rank(layer.k.values).entropy_rank,
        rank(layer.v.values).entropy_rank,
        rank(kv.values).entropy_rank,
        kv.values.size(),
        null.entropy_rank,
        rank(layer.k.values).r99,
        rank(layer.v.values).r99,
        rank(kv.values).r99,
        null.r99);
  }
  log::info("wrote {}/spectrum.h5, .csv, .html and plots", args.out);
  return kDone;
}

}  // namespace vmla::launch
