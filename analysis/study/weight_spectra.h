#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "analysis/rank/spectrum.h"
#include "analysis/study/kv_names.h"
#include "model/formats/safetensors.h"

/// Singular spectra of a dense model's key and value weights: does a pretrained model have the low
/// rank that a latent bottleneck would need? Raw weights: no norm gain, no bias.
namespace vmla::analysis {

/// Of one layer. A matrix with m rows and D columns has min(m, D) values.
struct LayerSpectra {
  /// Of W_K and W_V.
  Spectrum k, v;
  /// Of the joint [W_K; W_V], which is what one shared latent has to carry.
  Spectrum kv;
};

/// Spectra of every layer that `tensors` has under `names`, from layer 0 until one is missing. One
/// Gram matrix of each weight, in fp64; the joint one is their sum. Values near zero err by up to
/// 1e-8 s_1. UserError, with `source` in front, if there is no layer, a layer lacks one of the two,
/// or the shapes do not fit.
std::vector<LayerSpectra> weight_spectra(const model::TensorMap& tensors,
                                         const KvNames& names,
                                         const std::string& source);

/// Writes into the folder `out` (made if missing), with `source` as the name of the weights:
/// - spectrum.h5: /{k,v,kv}/spectrum [layers, n] descending, /r99 [layers] int64, /r99_fractional
///   [layers], /energy_at [layers, n], the share of the energy in the first r values at column r -
///   1; layers with fewer values are padded with NaN
/// - spectrum.csv: a row a layer and kind, with the energy at a few ranks
/// - spectrum_{k,v,kv}.svg and spectrum.html
void write_weight_spectra(const std::vector<LayerSpectra>& layers,
                          const std::string& source,
                          const std::filesystem::path& out);

}  // namespace vmla::analysis
