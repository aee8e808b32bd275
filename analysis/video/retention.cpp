#include "analysis/video/retention.h"

#include <ATen/ATen.h>

#include <array>
#include <map>
#include <set>

namespace vmla::analysis {
namespace {

constexpr size_t kValues = 6;  // size, speed, four numbers of texture
using Values = std::array<double, kValues>;

/// A range of the six values that is compared as one trait.
struct Trait {
  size_t first, count;
};
constexpr Trait kSize{0, 1}, kSpeed{1, 1}, kTexture{2, 4};

Values values_of(const ChunkTraits& chunk) {
  return {chunk.size,
          chunk.speed,
          chunk.texture[0],
          chunk.texture[1],
          chunk.texture[2],
          chunk.texture[3]};
}

// Chunk 0 and a later chunk of one clip; of the clips of one caption; of all captions that at least
// two clips have.
struct Pair {
  Values first, later;
};
using Groups = std::vector<std::vector<Pair>>;

Groups pairs_at(const std::vector<std::vector<ChunkTraits>>& traits,
                const std::vector<int>& captions,
                size_t chunk) {
  std::map<int, std::vector<Pair>> by_caption;
  for (size_t i = 0; i < traits.size(); ++i) {
    if (chunk >= traits[i].size()) continue;
    by_caption[captions[i]].push_back({values_of(traits[i][0]), values_of(traits[i][chunk])});
  }
  Groups groups;
  for (auto& [caption, group] : by_caption) {
    if (group.size() >= 2) groups.push_back(std::move(group));
  }
  return groups;
}

// The squared unit of each distance: chunk 0's squared deviations from their caption's mean, summed
// over all clips (a common factor of all distances changes no comparison).
Values scales_of(const Groups& groups) {
  Values scale{};
  for (const auto& group : groups) {
    for (size_t v = 0; v < kValues; ++v) {
      double mean = 0;
      for (const Pair& pair : group) mean += pair.first[v] / static_cast<double>(group.size());
      for (const Pair& pair : group) scale[v] += (pair.first[v] - mean) * (pair.first[v] - mean);
    }
  }
  for (double& s : scale) s = s > 0 ? s : 1.0;
  return scale;
}

// The mean squared distance in a trait's values.
double distance(const Values& a, const Values& b, const Values& scale, const Trait& trait) {
  double sum = 0;
  for (size_t v = trait.first; v < trait.first + trait.count; ++v) {
    sum += (a[v] - b[v]) * (a[v] - b[v]) / scale[v];
  }
  return sum / static_cast<double>(trait.count);
}

// The share of other clips of the caption whose chunk 0 is farther from the later chunk than its
// own is; ties count half.
double identification(const Groups& groups, const std::vector<Trait>& traits) {
  const Values scale = scales_of(groups);
  const auto total = [&](const Values& a, const Values& b) {
    double sum = 0;
    for (const Trait& trait : traits) sum += distance(a, b, scale, trait);
    return sum;
  };
  double score = 0;
  int64_t clips = 0;
  for (const auto& group : groups) {
    for (size_t i = 0; i < group.size(); ++i) {
      const double own = total(group[i].later, group[i].first);
      double wins = 0;
      for (size_t j = 0; j < group.size(); ++j) {
        if (j == i) continue;
        const double other = total(group[i].later, group[j].first);
        wins += own < other ? 1.0 : (own == other ? 0.5 : 0.0);
      }
      score += wins / static_cast<double>(group.size() - 1);
      ++clips;
    }
  }
  return clips > 0 ? score / static_cast<double>(clips) : 0.5;
}

// Correlation of the later values with the first ones about their captions' means; the mean over a
// trait's numbers.
double correlation(const Groups& groups, const Trait& trait) {
  double mean = 0;
  for (size_t v = trait.first; v < trait.first + trait.count; ++v) {
    double covariance = 0, first_variance = 0, later_variance = 0;
    for (const auto& group : groups) {
      double first_mean = 0, later_mean = 0;
      for (const Pair& pair : group) {
        first_mean += pair.first[v] / static_cast<double>(group.size());
        later_mean += pair.later[v] / static_cast<double>(group.size());
      }
      for (const Pair& pair : group) {
        const double a = pair.first[v] - first_mean, b = pair.later[v] - later_mean;
        covariance += a * b;
        first_variance += a * a;
        later_variance += b * b;
      }
    }
    const double norm = std::sqrt(first_variance * later_variance);
    mean += norm > 0 ? covariance / norm : 0.0;
  }
  return mean / static_cast<double>(trait.count);
}

bool any_caption_twice(const std::vector<int>& captions) {
  return std::set<int>(captions.begin(), captions.end()).size() < captions.size();
}

}  // namespace

Retention measure_retention(const std::vector<std::vector<ChunkTraits>>& traits,
                            const std::vector<int>& captions) {
  TORCH_CHECK(traits.size() == captions.size(),
              traits.size(),
              " clips with ",
              captions.size(),
              " captions");
  Retention result;
  result.within_caption = any_caption_twice(captions);
  const std::vector<int> groups_of =
      result.within_caption ? captions : std::vector<int>(captions.size(), 0);
  size_t chunks = 0;
  for (const auto& clip : traits) chunks = std::max(chunks, clip.size());

  Retention sum;
  double measured = 0;
  for (size_t chunk = 1; chunk < chunks; ++chunk) {
    const Groups groups = pairs_at(traits, groups_of, chunk);
    if (groups.empty()) break;
    if (chunk == 1) {
      for (const auto& group : groups) result.clips += static_cast<int64_t>(group.size());
    }
    const double all = identification(groups, {kSize, kSpeed, kTexture});
    result.identification_by_chunk.push_back(all);
    sum.identification += all;
    sum.size_identification += identification(groups, {kSize});
    sum.speed_identification += identification(groups, {kSpeed});
    sum.texture_identification += identification(groups, {kTexture});
    sum.size_correlation += correlation(groups, kSize);
    sum.speed_correlation += correlation(groups, kSpeed);
    sum.texture_correlation += correlation(groups, kTexture);
    ++measured;
  }
  if (measured == 0) return result;  // nothing to compare: chance
  // The members of `sum` start at chance, which is taken off again.
  result.identification = (sum.identification - 0.5) / measured;
  result.size_identification = (sum.size_identification - 0.5) / measured;
  result.speed_identification = (sum.speed_identification - 0.5) / measured;
  result.texture_identification = (sum.texture_identification - 0.5) / measured;
  result.size_correlation = sum.size_correlation / measured;
  result.speed_correlation = sum.speed_correlation / measured;
  result.texture_correlation = sum.texture_correlation / measured;
  return result;
}

}  // namespace vmla::analysis
