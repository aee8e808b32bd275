#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

/// The checkpoints that a run has: which there are, which stay, and which one to go on from.
namespace vmla::trainer {

/// The step folders of a checkpoints folder that have a manifest, oldest first.
std::vector<std::filesystem::path> list_checkpoints(
    const std::filesystem::path& checkpoints_folder);

/// Which checkpoints stay: the newest `keep_last` (at least one), those whose step is a multiple of
/// `keep_every` (0: none), and the one that `latest` points to.
struct Retention {
  int64_t keep_last = 1;
  int64_t keep_every = 0;
};

/// Removes the other checkpoints; returns what was removed.
std::vector<std::filesystem::path> prune_checkpoints(
    const std::filesystem::path& checkpoints_folder, const Retention& retention);

/// Ranks that look for a checkpoint together; by default there is one.
struct Readers {
  int64_t index = 0;
  int64_t count = 1;
  /// What reader 0 says, told to every reader. Collective.
  std::function<std::string(const std::string& mine)> first_says = [](const auto& mine) {
    return mine;
  };
  /// Whether `mine` is true on every reader. Collective.
  std::function<bool(bool mine)> all = [](bool mine) { return mine; };
};

/// For automatic resume: the newest checkpoint whose every file has the right hash, the same on
/// every reader; nothing if there is none. Each reader compares the hashes of its share of the
/// files. `complaints` (may be null) gets one line for each newer checkpoint that was passed over;
/// only reader 0's lines are sure to say why.
std::optional<std::filesystem::path> newest_intact_checkpoint(
    const std::filesystem::path& checkpoints_folder,
    std::vector<std::string>* complaints,
    const Readers& readers = {});

}  // namespace vmla::trainer
