#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "data/loading/prefetch_loader.h"
#include "data/loading/shard_sampler.h"
#include "data/store/latent_file_writer.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

TEST(ShardSampler, EveryEpochIsAPermutationOfItsOwn) {
  const ShardSampler sampler(3, 101);
  std::vector<std::vector<int64_t>> epochs;
  for (int64_t epoch = 0; epoch < 4; ++epoch) {
    std::vector<int64_t> order = sampler.indices(epoch * 101, 101);
    epochs.push_back(order);
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < 101; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
  }
  for (size_t a = 0; a < 4; ++a) {
    for (size_t b = 0; b < a; ++b) EXPECT_NE(epochs[a], epochs[b]);
  }
  EXPECT_NE(ShardSampler(4, 101).indices(0, 101), epochs[0]);
}

TEST(ShardSampler, APositionAloneDecidesWhatComes) {
  const ShardSampler sampler(3, 10);
  const std::vector<int64_t> whole = sampler.indices(0, 57);
  for (int64_t first = 0; first < 57; ++first) {
    const ShardSampler fresh(3, 10);
    const std::vector<int64_t> rest = fresh.indices(first, 57 - first);
    EXPECT_TRUE(std::equal(rest.begin(), rest.end(), whole.begin() + first));
  }
  EXPECT_EQ(ShardSampler(9, 1).indices(5, 3), (std::vector<int64_t>{0, 0, 0}));
}

TEST(ShardSampler, ShardsCoverABatchWithoutOverlapInTheSameOrder) {
  const std::vector<int64_t> whole = ShardSampler(3, 50).indices(48, 24);
  for (const int64_t shards : {1, 2, 3, 8}) {
    std::vector<int64_t> together;
    for (int64_t shard = 0; shard < shards; ++shard) {
      const ShardSampler sampler(3, 50, {.index = shard, .count = shards});
      const std::vector<int64_t> part =
          sampler.indices(sampler.shard_first(48, 24), sampler.shard_batch(24));
      together.insert(together.end(), part.begin(), part.end());
    }
    EXPECT_EQ(together, whole);
  }
  EXPECT_THROW(ShardSampler(3, 50, {.index = 0, .count = 5}).shard_batch(24), c10::Error);
}

TEST(ShardSampler, OrderIsUniform) {
  // Where clip 0 lands over 2000 epochs of 5 clips: each place 400 times, standard deviation
  // √(2000·0.2·0.8) = 17.9; five of them.
  std::vector<int> counts(5, 0);
  const ShardSampler sampler(1, 5);
  const std::vector<int64_t> all = sampler.indices(0, 10000);
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i] == 0) ++counts[i % 5];
  }
  for (const int count : counts) EXPECT_NEAR(count, 400, 90);
}

TEST(BucketOrder, EveryBucketKeepsItsShareAndAStepAloneDecides) {
  const std::vector<int64_t> sizes = {60, 25, 15};
  BucketOrder order(sizes);
  std::vector<int64_t> used(3, 0);
  std::vector<size_t> turns;
  for (int64_t step = 0; step < 250; ++step) {
    const BucketOrder::Turn turn = order.at(step);
    EXPECT_EQ(turn.earlier, used[turn.bucket]);
    ++used[turn.bucket];
    turns.push_back(turn.bucket);
    for (size_t b = 0; b < 3; ++b) {
      const double share = static_cast<double>((step + 1) * sizes[b]) / 100;
      EXPECT_LE(std::abs(static_cast<double>(used[b]) - share), 1.0) << step << " " << b;
    }
  }
  for (int64_t step = 249; step >= 0; step -= 31) {
    BucketOrder fresh(sizes);
    EXPECT_EQ(fresh.at(step).bucket, turns[static_cast<size_t>(step)]);
  }
}

TEST(ShardSampler, ABatchIsOfOneBucketAndEachBucketGoesThroughItsOwnEpochs) {
  // Clips 0 to 5 and 8 to 11 are of one shape, 6 and 7 of another.
  const std::vector<Bucket> buckets = {{{0, 6}, {8, 12}}, {{6, 8}}};
  constexpr int64_t kBatch = 4;
  const ShardSampler sampler(3, buckets, kBatch, {});
  std::map<int64_t, int> seen;
  for (int64_t step = 0; step < 60; ++step) {
    const std::vector<int64_t> clips = sampler.indices(step * kBatch, kBatch);
    const size_t bucket = sampler.bucket(step * kBatch);
    for (const int64_t clip : clips) {
      EXPECT_EQ(clip == 6 || clip == 7, bucket == 1) << step;
      ++seen[clip];
    }
    // What a resumed run reads, and the shards of several ranks.
    EXPECT_EQ(ShardSampler(3, buckets, kBatch, {}).indices(step * kBatch, kBatch), clips);
    const ShardSampler second(3, buckets, kBatch, {.index = 1, .count = 2});
    EXPECT_EQ(second.indices(second.shard_first(step * kBatch, kBatch), 2),
              (std::vector<int64_t>{clips[2], clips[3]}));
  }
  // 240 samples of 12 clips.
  for (const auto& [clip, times] : seen) EXPECT_EQ(times, 20) << clip;
  EXPECT_EQ(seen.size(), 12U);
}

/// n clips of one value each, texts of 1 to 3 rows.
void write_clips(const fs::path& path, int64_t n, int64_t width = 4) {
  LatentInfo info;
  info.codec = info.text_encoder = "test";
  info.fps = 8;
  info.pixel_height = info.pixel_width = 8;
  info.pixel_frames = 2;
  info.pixel_width = 2 * width;
  info.clip_shape = {2, 3, 4, width};
  info.text_dim = 5;
  std::vector<ClipRecord> clips;
  for (int64_t i = 0; i < n; ++i) clips.push_back({formatted("caption {}", i), "v", i, i % 3 + 1});
  LatentFileWriter writer(path, info, clips, std::vector<float>(5, -1));
  for (int64_t i = 0; i < n; ++i) {
    const at::Tensor latents = at::full({2, 3, 4, width}, i, at::kBFloat16);
    const at::Tensor text = at::full({i % 3 + 1, 5}, i + 1, at::kFloat);
    writer.write_latents(i, static_cast<const uint16_t*>(latents.const_data_ptr()));
    writer.write_text(i, text.const_data_ptr<float>());
  }
  writer.close();
}

TEST(Batch, IsOfOneShapeWhereADatasetHasSeveral) {
  const TemporaryFolder folder;
  write_clips(folder / "a.h5", 6);
  write_clips(folder / "b.h5", 10, 8);
  write_clips(folder / "c.h5", 2);
  const LatentDataset dataset(folder.path());
  ASSERT_EQ(dataset.buckets().size(), 2U);
  EXPECT_EQ(dataset.clip_shape(0), (std::vector<int64_t>{2, 3, 4, 4}));
  EXPECT_EQ(dataset.info().clip_shape, (std::vector<int64_t>{2, 3, 4, 8})) << "ten of 18 clips";
  EXPECT_EQ(dataset.info(17).clip_shape, (std::vector<int64_t>{2, 3, 4, 4}));
  const ShardSampler sampler(1, dataset.buckets(), 4, {});
  PrefetchLoader loader(
      dataset, sampler, {.global_batch = 4, .micro_batch = 2, .threads = 2, .prefetch_batches = 3});
  std::set<int64_t> widths;
  for (int64_t step = 0; step < 9; ++step) {
    const auto& shape = dataset.clip_shape(sampler.bucket(loader.position()));
    for (int micro = 0; micro < 2; ++micro) {
      const Batch batch = loader.next();
      EXPECT_EQ(batch.latents.sizes().slice(1), at::IntArrayRef(shape));
      widths.insert(batch.latents.size(4));
    }
  }
  EXPECT_EQ(widths, (std::set<int64_t>{4, 8}));
}

TEST(Batch, TextsArePaddedAndCanBeDropped) {
  const TemporaryFolder folder;
  write_clips(folder / "a.h5", 10);
  const LatentDataset dataset(folder / "a.h5");
  Batch batch = read_batch(dataset, {7, 2, 0}, 40);
  EXPECT_EQ(batch.latents.sizes(), (at::IntArrayRef{3, 2, 3, 4, 4}));
  EXPECT_EQ(batch.text.sizes(), (at::IntArrayRef{3, 3, 5}));
  EXPECT_EQ(batch.text_rows, (std::vector<int64_t>{2, 3, 1}));
  EXPECT_EQ(batch.text.sum().item<double>(), 5 * (8 * 2 + 3 * 3 + 1));
  EXPECT_EQ(batch.latents[0].mean().item<double>(), 7);
  EXPECT_EQ(batch.captions[1], "caption 2");
  EXPECT_EQ(batch.first_sample, 40);
  drop_caption(batch, 1, dataset.empty_text());
  EXPECT_EQ(batch.text[1].sum().item<double>(), -5);
  EXPECT_EQ(batch.text_rows[1], 1);
  EXPECT_EQ(batch.captions[1], "");
}

TEST(PrefetchLoader, OrderDoesNotDependOnThreadsAndGoesOnFromAPosition) {
  const TemporaryFolder folder;
  write_clips(folder / "a.h5", 23);
  const LatentDataset dataset(folder / "a.h5");
  const ShardSampler sampler(5, 23, {.index = 1, .count = 2});
  std::vector<std::vector<int64_t>> expected;
  std::vector<int64_t> firsts;
  for (const int64_t threads : {1, 4}) {
    PrefetchLoader loader(
        dataset,
        sampler,
        {.global_batch = 8, .micro_batch = 2, .threads = threads, .prefetch_batches = 3});
    for (size_t i = 0; i < 20; ++i) {
      EXPECT_EQ(loader.position(), static_cast<int64_t>((i + 1) / 2 * 8));
      const Batch batch = loader.next();
      if (threads == 1) {
        expected.push_back(batch.indices);
        firsts.push_back(batch.first_sample);
        EXPECT_EQ(batch.indices,
                  sampler.indices(static_cast<int64_t>(i / 2 * 8 + 4 + i % 2 * 2), 2));
        EXPECT_EQ(batch.latents[1].mean().item<double>(), static_cast<double>(batch.indices[1]));
      } else {
        EXPECT_EQ(batch.indices, expected[i]);
      }
    }
  }
  PrefetchLoader resumed(
      dataset,
      sampler,
      {.global_batch = 8, .micro_batch = 2, .threads = 2, .prefetch_batches = 2, .position = 40});
  for (size_t i = 10; i < 20; ++i) {
    const Batch batch = resumed.next();
    EXPECT_EQ(batch.indices, expected[i]);
    EXPECT_EQ(batch.first_sample, firsts[i]);
  }
}

TEST(PrefetchLoader, HoldsNoMoreThanItsBound) {
  const TemporaryFolder folder;
  write_clips(folder / "a.h5", 16);
  const LatentDataset dataset(folder / "a.h5");
  const ShardSampler sampler(5, 16);
  for (const int64_t bound : {1, 2, 5}) {
    PrefetchLoader loader(
        dataset,
        sampler,
        {.global_batch = 4, .micro_batch = 4, .threads = 3, .prefetch_batches = bound});
    for (int i = 0; i < 10; ++i) loader.next();
    // Time to run ahead, if nothing held it back.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(loader.most_held(), bound);
  }
}

TEST(PrefetchLoader, AReadErrorReachesTheConsumer) {
  const TemporaryFolder folder;
  write_clips(folder / "a.h5", 16);
  const LatentDataset dataset(folder / "a.h5");
  fs::resize_file(folder / "a.h5", 100);  // truncated behind its back
  const ShardSampler sampler(5, 16);
  PrefetchLoader loader(
      dataset, sampler, {.global_batch = 4, .micro_batch = 4, .threads = 2, .prefetch_batches = 2});
  const std::string text = error_of<UserError>([&] { loader.next(); });
  EXPECT_NE(text.find("a.h5"), std::string::npos) << text;
  EXPECT_NE(text.find("truncated"), std::string::npos) << text;
}

TEST(PrefetchLoader, ContradictingSizesAreRefused) {
  const TemporaryFolder folder;
  write_clips(folder / "a.h5", 4);
  const LatentDataset dataset(folder / "a.h5");
  EXPECT_THROW(PrefetchLoader(dataset, ShardSampler(1, 5), {.global_batch = 4, .micro_batch = 4}),
               c10::Error);
  const ShardSampler sampler(1, 4);
  EXPECT_THROW(PrefetchLoader(dataset, sampler, {.global_batch = 4, .micro_batch = 3}), c10::Error);
}

}  // namespace
}  // namespace vmla::data
