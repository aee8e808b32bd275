#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace vmla::analysis {

/// Which tensors hold W_K and W_V of layer i; "{layer}" stands for i.
struct KvNames {
  std::string k = "blocks.{layer}.self_attn.k.weight";
  std::string v = "blocks.{layer}.self_attn.v.weight";
};

/// A name of KvNames for one layer.
std::string name_of_layer(const std::string& pattern, int64_t layer);

/// Reads a name map: yaml whose keys are the two default names above (or just k and v) and whose
/// values are the file's names, with "{layer}". UserError names the file, the key and what is
/// valid.
KvNames read_kv_names(const std::filesystem::path& yaml);

}  // namespace vmla::analysis
