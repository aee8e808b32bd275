#include "analysis/rank/rank_log.h"

#include "data/store/hdf5_reader.h"
#include "data/store/hdf5_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cmath>

namespace vmla::analysis {
namespace {

class RankLogTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
};

LayerRank layer_of(Spectrum spectrum) {
  LayerRank layer{static_cast<int64_t>(spectrum.size()), std::move(spectrum), {}};
  layer.effective = effective_rank(layer.spectrum);
  return layer;
}

// Two layers of different ranks, three steps.
RankLog example() {
  RankLog log("svd_weight");
  for (const int64_t step : {0, 10, 20}) {
    const double s = 1.0 + static_cast<double>(step);
    log.append(step, {layer_of({3 * s, 2, 1, 0.5}), layer_of({2 * s, 1})});
  }
  log.set_nulls({.product = {layer_of({1, 0.9, 0.8, 0.7}), layer_of({1, 0.9})}});
  return log;
}

TEST_F(RankLogTest, HoldsTheDatasetsOfTheContract) {
  example().write(folder_ / "rank.h5");
  const data::Hdf5Reader file(folder_ / "rank.h5", "a rank log");
  EXPECT_EQ(file.integers("/steps").values, (std::vector<int64_t>{0, 10, 20}));
  EXPECT_EQ(file.integers("/rank").values, (std::vector<int64_t>{4, 2}));
  EXPECT_EQ(file.integer_attribute("rank_budget"), 4);
  EXPECT_EQ(file.text_attribute("init"), "svd_weight");
  for (const char* name : {"r99", "r99_fractional", "stable_rank", "entropy_rank"}) {
    EXPECT_EQ(file.doubles(formatted("/{}", name)).sizes, (std::vector<int64_t>{3, 2})) << name;
  }
  const data::Hdf5Array<double> spectrum = file.doubles("/spectrum");
  ASSERT_EQ(spectrum.sizes, (std::vector<int64_t>{3, 2, 4}));
  EXPECT_EQ(spectrum.values[8], 33.0);           // step 10, layer 0, value 0
  EXPECT_EQ(spectrum.values[13], 1.0);           // step 10, layer 1, value 1
  EXPECT_TRUE(std::isnan(spectrum.values[14]));  // its padding
  EXPECT_TRUE(std::isnan(spectrum.values[15]));
}

TEST_F(RankLogTest, IsReadBackEqual) {
  const RankLog log = example();
  log.write(folder_ / "rank.h5");
  const RankLog again = RankLog::read(folder_ / "rank.h5");
  EXPECT_EQ(again.steps(), log.steps());
  EXPECT_EQ(again.init(), "svd_weight");
  ASSERT_EQ(again.num_layers(), 2);
  for (size_t i = 0; i < 3; ++i) {
    for (size_t layer = 0; layer < 2; ++layer) {
      EXPECT_EQ(again.measurements()[i][layer].spectrum, log.measurements()[i][layer].spectrum);
      EXPECT_EQ(again.measurements()[i][layer].effective.entropy_rank,
                log.measurements()[i][layer].effective.entropy_rank);
    }
  }
  EXPECT_EQ(again.null()[1].spectrum, log.null()[1].spectrum);
}

TEST_F(RankLogTest, IsCutBackOnResume) {
  RankLog log = example();
  log.cut_back(10);
  EXPECT_EQ(log.steps(), (std::vector<int64_t>{0, 10}));
  log.append(20, {layer_of({1, 1, 1, 1}), layer_of({1, 1})});
  EXPECT_EQ(log.measurements().size(), 3u);
  log.cut_back(-1);
  EXPECT_TRUE(log.steps().empty());
  log.write(folder_ / "rank.h5");  // an empty log is a readable file too
  EXPECT_TRUE(RankLog::read(folder_ / "rank.h5").steps().empty());
}

TEST_F(RankLogTest, KeepsNullsAndWhatWasMeasuredAtSomePoints) {
  RankLog log = example();
  RankNulls nulls = log.nulls();
  nulls.truncated = {layer_of({4, 3, 2, 1}), layer_of({2, 1})};
  nulls.shuffled = {layer_of({1, 1, 1, 1}), layer_of({1, 1})};
  nulls.shuffled_step = 10;
  nulls.isotropic_overlap = {0.5, 0.25};
  log.set_nulls(nulls);
  RankExtras extras{.latents = {layer_of({9, 1, 1, 1}), layer_of({8, 1})},
                    .content = {layer_of({7, 1, 1, 1}), layer_of({6, 1})},
                    .cosines = {{1, 0.9, 0.5}, {1, 0.5}}};
  log.append(30, {layer_of({1, 1, 1, 1}), layer_of({1, 1})}, extras);
  log.write(folder_ / "rank.h5");
  const RankLog again = RankLog::read(folder_ / "rank.h5");
  EXPECT_EQ(again.nulls().truncated[0].spectrum, nulls.truncated[0].spectrum);
  EXPECT_EQ(again.nulls().shuffled[1].spectrum, nulls.shuffled[1].spectrum);
  EXPECT_EQ(again.nulls().shuffled_step, 10);
  EXPECT_EQ(again.nulls().isotropic_overlap, nulls.isotropic_overlap);
  ASSERT_EQ(again.extras().size(), 4u);
  EXPECT_TRUE(again.extras()[2].latents.empty() && again.extras()[2].cosines.empty());
  EXPECT_EQ(again.extras()[3].latents[1].spectrum, extras.latents[1].spectrum);
  EXPECT_EQ(again.extras()[3].content[0].effective.entropy_rank,
            extras.content[0].effective.entropy_rank);
  EXPECT_EQ(again.extras()[3].cosines, extras.cosines);  // the first layer's has three of four
  const data::Hdf5Reader file(folder_ / "rank.h5", "a rank log");
  EXPECT_NEAR(file.doubles("/subspace_overlap").values[7], 0.625, 1e-15);
  EXPECT_EQ(file.integers("/latent_r99").values[0], -1);
  log.cut_back(20);
  EXPECT_EQ(log.extras().size(), 3u);
}

TEST_F(RankLogTest, OfDenseLayersSaysTheEnergyInTheFirstValues) {
  RankLog log;
  log.append(0, {layer_of({3, 2, 1}), layer_of({1, 1, 1})});
  log.set_nulls({.shuffled = {layer_of({2, 2, 2}), layer_of({2, 1, 1})},
                 .gaussian = {layer_of({1, 1, 0}), layer_of({1, 0, 0})},
                 .shuffled_step = 0});
  log.set_energy_ranks({1, 2});
  log.write(folder_ / "rank.h5");
  const RankLog again = RankLog::read(folder_ / "rank.h5");
  EXPECT_TRUE(again.is_joint());
  EXPECT_EQ(again.energy_ranks(), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(again.nulls().gaussian[1].spectrum, (Spectrum{1, 0, 0}));
  const data::Hdf5Reader file(folder_ / "rank.h5", "a rank log");
  const data::Hdf5Array<double> energy = file.doubles("/energy_at");
  ASSERT_EQ(energy.sizes, (std::vector<int64_t>{1, 2, 2}));
  EXPECT_DOUBLE_EQ(energy.values[0], 9.0 / 14);
  EXPECT_DOUBLE_EQ(energy.values[3], 2.0 / 3);
  EXPECT_EQ(file.doubles("/gaussian_energy_at").values, (std::vector<double>{0.5, 1, 1, 1}));
  EXPECT_EQ(file.doubles("/shuffled_energy_at").sizes, (std::vector<int64_t>{2, 2}));
  EXPECT_FALSE(example().is_joint());
}

TEST_F(RankLogTest, LogsOfOlderRunsHaveNoneOfThese) {
  example().write(folder_ / "rank.h5");  // without extras, and with the random product alone
  const RankLog again = RankLog::read(folder_ / "rank.h5");
  EXPECT_TRUE(again.nulls().truncated.empty() && again.nulls().shuffled.empty());
  EXPECT_EQ(again.nulls().shuffled_step, -1);
  ASSERT_EQ(again.extras().size(), 3u);
  EXPECT_TRUE(again.extras()[0].latents.empty() && again.extras()[0].cosines.empty());
}

TEST_F(RankLogTest, AFailedWriteLeavesTheOldFile) {
  const auto path = folder_ / "rank.h5";
  example().write(path);
  RankLog longer = example();
  longer.append(30, {layer_of({1, 1, 1, 1}), layer_of({1, 1})});
  io::set_fault_hook([](std::string_view operation, const std::filesystem::path&) {
    return operation == "rename" ? ENOSPC : 0;
  });
  EXPECT_THROW(longer.write(path), RunError);
  io::set_fault_hook(nullptr);
  EXPECT_EQ(RankLog::read(path).steps().size(), 3u);
}

TEST_F(RankLogTest, NamesAMissingOrDamagedFile) {
  const auto path = folder_ / "rank.h5";
  const auto message_of = [&] { return error_of<UserError>([&] { RankLog::read(path); }); };
  EXPECT_NE(message_of().find("rank.h5: no such file"), std::string::npos);
  write_bytes(path, "not HDF5");
  EXPECT_NE(message_of().find("rank.h5: not a readable HDF5 file"), std::string::npos);
  example().write(path);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  EXPECT_NE(message_of().find("rank.h5"), std::string::npos);
  {
    data::Hdf5Writer file(path);
    file.fixed_text_attribute("init", "random");
    file.write("/steps", data::Hdf5Array<int64_t>{{1}, {0}});
    file.close();
  }
  EXPECT_NE(message_of().find("rank.h5: /rank: missing"), std::string::npos) << message_of();
  {
    data::Hdf5Writer file(path);
    file.fixed_text_attribute("init", "random");
    file.attribute("rank_budget", std::vector<int64_t>{4, 4});
    file.write("/steps", data::Hdf5Array<int64_t>{{1}, {0}});
    file.write("/rank", data::Hdf5Array<int64_t>{{1}, {4}});
    file.write("/spectrum", data::Hdf5Array<double>{{1, 1, 4}, {4, 3, 2, 1}});
    file.close();
  }
  EXPECT_NE(message_of().find("rank.h5: rank_budget: attribute must hold 1 number"),
            std::string::npos)
      << message_of();
}

}  // namespace
}  // namespace vmla::analysis
