#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vmla::launch {

/// A video to be sampled: its text, and what it is called.
struct ListedSample {
  std::string text;      // that is given to the model
  std::string original;  // that the file is named after, where that is a list of its own
  std::string name;      // of the file, without extension; empty: its number
  uint64_t seed;
  uint32_t place;  // in the list of prompts: a part of what its noise depends on
};

/// `samples` videos of each of `texts`. Sample k of a prompt has the seed `seed` + k, so it is what
/// a call with that seed would make. With several, file names are 000-0, 000-1, ...
std::vector<ListedSample> numbered_samples(const std::vector<std::string>& texts,
                                           int64_t seed,
                                           int64_t samples);

/// The videos that VBench looks for: of each prompt of its list (`VBench_full_info.json`) five, or
/// 25 where its dimensions include temporal_flickering (`samples` > 0: as many of each), called
/// `PROMPT-i`. `extended`, if not empty, has the text that is given to the model for each entry of
/// the list, in its order. Every video has a seed of its own, made of `seed`, prompt and i.
///
/// UserError for a list that is none, for another number of extended texts, and for prompts that
/// are no file names or that VBench takes apart at '_'.
std::vector<ListedSample> vbench_samples(const std::string& list_path,
                                         const std::vector<std::string>& extended,
                                         const std::string& extended_path,
                                         int64_t seed,
                                         int64_t samples,
                                         const std::string& extension);

/// Two names that differ in nothing but the case of ASCII letters; empty if there are none.
std::vector<std::string> names_that_differ_by_case(const std::vector<ListedSample>& list);

}  // namespace vmla::launch
