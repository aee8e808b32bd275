#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "launch/command_args.h"

namespace vmla::launch {

/// The arguments of `vmla analyze spectrum`.
struct AnalyzeSpectrumArgs : CommandArgs {
  static const CommandText kText;

  std::string weights;
  std::string map;                  // empty: names that are recognised
  std::optional<int64_t> kv_heads;  // empty: what the weights say; 0: none
  std::string out;

  void define(OptionSet& options);
};

/// In vmla-core.
int run(const AnalyzeSpectrumArgs& args);

}  // namespace vmla::launch
