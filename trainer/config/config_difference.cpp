#include "trainer/config/config_difference.h"

#include <algorithm>
#include <string_view>

#include "trainer/config/config_visit.h"

namespace vmla::trainer {
namespace {

// Every leaf of a configuration, in file order: its full key ("optimizer.lr") and its value as yaml
// on one line. Values are compared as text, so that a type needs no comparison of its own.
using Flat = std::vector<std::pair<std::string, std::string>>;

void flatten(const ConfigNode& node, const std::string& key, Flat& out) {
  if (!node.is_map()) {
    out.emplace_back(key, to_inline_yaml(node));
    return;
  }
  for (const auto& entry : node.entries) flatten(entry.value, visit::below(key, entry.key), out);
}

Flat flatten(TrainConfig config) {
  // In a pipeline the stage's name says where the weights come from. The path follows from the run
  // folder, which may have been moved since the run began.
  for (auto& [role, source] : config.init_from) {
    if (!source.stage.empty()) source.path.clear();
  }
  Flat out;
  flatten(to_node(config), "", out);
  return out;
}

const std::string* find(const Flat& flat, const std::string& key) {
  const auto it =
      std::find_if(flat.begin(), flat.end(), [&](const auto& pair) { return pair.first == key; });
  return it == flat.end() ? nullptr : &it->second;
}

// A prefix that ends in '.' is a section and stands for all keys below it.
bool starts_with_any(std::string_view key, const std::vector<std::string_view>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](std::string_view prefix) {
    return key == prefix || (prefix.back() == '.' && key.starts_with(prefix));
  });
}

// Whether the key says where something lies, or how it was made, whose content is compared instead;
// or whether the user permits the change.
bool is_place(const std::string& key, const TrainConfig& now, const KnownByContent& known) {
  if (key == "data.path" || key.starts_with("data.make."))
    return known.data || now.data.allow_other_data;
  return std::ranges::any_of(known.sources, [&](const std::string& source) {
    return key == "init_from." + source + ".path";
  });
}

bool is_refused(const std::string& key,
                const TrainConfig& saved,
                const TrainConfig& now,
                const KnownByContent& known) {
  if (is_place(key, now, known)) return false;
  // A permission changes nothing by itself.
  if (key == "init.allow_other_source") return false;
  // The preset is a way to write the sizes; the sizes themselves are compared.
  if (key == "model.preset") return false;
  // Another decay is fine; an average that appears or vanishes is not, for it is a role with
  // weights of its own in the checkpoint.
  if (key == "ema.decay") return (saved.ema.decay == 0) != (now.ema.decay == 0);
  // What the saved weights, moments and data position depend on. optimizer.betas decides which
  // moments exist (docs/algorithms.md 11.1), train.batch_size what a step's samples are.
  static const std::vector<std::string_view> kFixed = {"stage",
                                                       "seed",
                                                       "init_from.",
                                                       "model.",
                                                       "init.",
                                                       "objective.",
                                                       "data.path",
                                                       "data.make.",
                                                       "data.caption_dropout",
                                                       "optimizer.betas",
                                                       "train.batch_size"};
  return starts_with_any(key, kFixed);
}

}  // namespace

std::vector<ConfigDifference> config_difference(const TrainConfig& saved,
                                                const TrainConfig& now,
                                                const KnownByContent& known) {
  const Flat before = flatten(saved), after = flatten(now);
  std::vector<ConfigDifference> out;
  for (const auto& [key, value] : before) {
    const std::string* other = find(after, key);
    if (other != nullptr && *other == value) continue;
    out.push_back({key, value, other ? *other : "(absent)", is_refused(key, saved, now, known)});
  }
  // Keys that only the new one has: those of another objective's section, or of another role.
  for (const auto& [key, value] : after) {
    if (find(before, key) == nullptr) {
      out.push_back({key, "(absent)", value, is_refused(key, saved, now, known)});
    }
  }
  return out;
}

std::vector<ConfigDifference> check_resume(const TrainConfig& saved,
                                           const TrainConfig& now,
                                           const std::string& run_dir,
                                           const KnownByContent& known) {
  std::vector<ConfigDifference> differences = config_difference(saved, now, known);
  std::string refused;
  for (const auto& d : differences) {
    if (d.refused)
      refused += formatted("{}{} ({} -> {})", refused.empty() ? "" : ", ", d.key, d.saved, d.now);
  }
  if (!refused.empty()) {
    fail_user(
        "{}: cannot resume: {} would change what was already trained; restore it, or start anew in "
        "another --run-dir",
        run_dir,
        refused);
  }
  return differences;
}

}  // namespace vmla::trainer
