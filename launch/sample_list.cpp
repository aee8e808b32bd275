#include "launch/sample_list.h"

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/json_text.h"
#include "model/io/quoted_name.h"
#include "model/io/sha256.h"

#include <nlohmann/json.hpp>

#include <charconv>
#include <map>
#include <set>

namespace vmla::launch {
namespace {

constexpr int64_t kSamples = 5, kFlickeringSamples = 25;  // that VBench's evaluation looks for
constexpr size_t kLongestName = 255;                      // bytes, of the usual file systems

struct VbenchPrompt {
  std::string text;
  size_t place;  // of its first entry in the list
  bool flickering = false;
};

/// The prompts in the order of the list, each once: two of the published list stand there twice.
std::vector<VbenchPrompt> read_vbench_list(const std::string& path, size_t& entries) {
  const auto list = io::parse_json<nlohmann::json>(io::read_text_file(path), path);
  if (!list.is_array() || list.empty()) {
    fail_user("{}: not a list of VBench's prompts (VBench_full_info.json)", path);
  }
  std::vector<VbenchPrompt> prompts;
  std::map<std::string, size_t> known;
  for (const auto& entry : list) {
    const size_t place = entries++;
    if (!entry.is_object() || !entry.contains("prompt_en") || !entry["prompt_en"].is_string() ||
        !entry.contains("dimension") || !entry["dimension"].is_array()) {
      fail_user("{}: entry {} lacks prompt_en (a text) or dimension (a list)", path, place);
    }
    const std::string prompt = entry["prompt_en"].get<std::string>();
    const auto [found, is_new] = known.emplace(prompt, prompts.size());
    if (is_new) prompts.push_back({prompt, place});
    for (const auto& dimension : entry["dimension"])
      if (dimension == "temporal_flickering") prompts[found->second].flickering = true;
  }
  return prompts;
}

void check_name(const std::string& path,
                const std::string& prompt,
                const std::string& name,
                const std::string& extension) {
  const size_t bytes = name.size() + extension.size();
  const char* problem = nullptr;
  if (prompt.empty()) problem = "is empty";
  if (prompt.find('/') != std::string::npos) problem = "has a '/', which no file name can have";
  if (prompt.find('\0') != std::string::npos) problem = "has a zero byte";
  if (prompt.find('_') != std::string::npos)
    problem = "has a '_', at which VBench-Long cuts names off";
  if (bytes > kLongestName) problem = "makes a file name of more than 255 bytes";
  if (prompt.starts_with('.')) problem = "begins with '.', and its videos would be hidden";
  if (problem) fail_user("{}: prompt {} {}", path, io::quoted_name(prompt), problem);
}

/// 48 bits: exact in every reader of JSON, and no two alike among thousands of videos.
uint64_t seed_of(int64_t seed, const std::string& prompt, int64_t sample) {
  const std::string key = formatted("{}\n{}\n{}", seed, prompt, sample);
  const std::string digits = io::sha256_hex(key.data(), key.size()).substr(0, 12);
  uint64_t number = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
  return number;
}

}  // namespace

std::vector<ListedSample> numbered_samples(const std::vector<std::string>& texts,
                                           int64_t seed,
                                           int64_t samples) {
  std::vector<ListedSample> list;
  for (size_t i = 0; i < texts.size(); ++i) {
    for (int64_t k = 0; k < samples; ++k) {
      list.push_back({.text = texts[i],
                      .original = {},
                      .name = samples > 1 ? formatted("{:03}-{}", i, k) : "",
                      .seed = static_cast<uint64_t>(seed) + static_cast<uint64_t>(k),
                      .place = static_cast<uint32_t>(i)});
    }
  }
  return list;
}

std::vector<ListedSample> vbench_samples(const std::string& list_path,
                                         const std::vector<std::string>& extended,
                                         const std::string& extended_path,
                                         int64_t seed,
                                         int64_t samples,
                                         const std::string& extension) {
  size_t entries = 0;
  const std::vector<VbenchPrompt> prompts = read_vbench_list(list_path, entries);
  if (!extended_path.empty() && extended.size() != entries) {
    fail_user("{}: {} lines, and {} has {} prompts; line i is what prompt i is generated with",
              extended_path,
              extended.size(),
              list_path,
              entries);
  }
  std::vector<ListedSample> list;
  for (const VbenchPrompt& prompt : prompts) {
    const int64_t own = prompt.flickering ? kFlickeringSamples : kSamples;
    for (int64_t k = 0; k < (samples > 0 ? samples : own); ++k) {
      const std::string name = formatted("{}-{}", prompt.text, k);
      check_name(list_path, prompt.text, name, extension);
      list.push_back({.text = extended_path.empty() ? prompt.text : extended[prompt.place],
                      .original = prompt.text,
                      .name = name,
                      .seed = seed_of(seed, prompt.text, k),
                      .place = 0});
    }
  }
  return list;
}

std::vector<std::string> names_that_differ_by_case(const std::vector<ListedSample>& list) {
  std::map<std::string, std::string> seen;
  for (const ListedSample& sample : list) {
    std::string lower = sample.name;
    for (char& c : lower)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const auto [found, is_new] = seen.emplace(lower, sample.name);
    if (!is_new) return {found->second, sample.name};
  }
  return {};
}

}  // namespace vmla::launch
