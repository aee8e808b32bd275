#include "launch/commands/analyze_spectrum.h"

#include "analysis/study/weight_spectra.h"
#include "model/formats/load_weights.h"
#include "model/formats/safetensors.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"

#include <filesystem>

namespace vmla::launch {
namespace {

/// Tensors under the names of the file: load_weights() would refuse those of another project.
model::TensorMap read_foreign(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) return model::read_safetensors_sharded(path).tensors;
  return model::read_safetensors(path).tensors;
}

}  // namespace

int run(const AnalyzeSpectrumArgs& args) {
  std::vector<analysis::LayerSpectra> layers;
  std::string source = args.weights;
  if (args.map.empty()) {
    const model::LoadedWeights weights = model::load_weights(args.weights);
    source = weights.source;
    layers = analysis::weight_spectra(weights.tensors, {}, source);
  } else {
    const analysis::KvNames names = analysis::read_kv_names(args.map);
    layers = analysis::weight_spectra(read_foreign(args.weights), names, source);
  }
  analysis::write_weight_spectra(layers, source, args.out);
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto rank = [](const analysis::Spectrum& s) { return analysis::effective_rank(s).r99; };
    log::info("layer {}: r_0.99 of W_K {}, W_V {}, joint {} of {}",
              i,
              rank(layers[i].k),
              rank(layers[i].v),
              rank(layers[i].kv),
              layers[i].kv.size());
  }
  log::info("wrote {}/spectrum.h5, .csv, .html and plots", args.out);
  return kDone;
}

}  // namespace vmla::launch
