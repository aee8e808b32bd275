#include "trainer/telemetry/metrics.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "model/io/atomic_file.h"
#include "tests/support/temporary_folder.h"

namespace vmla::trainer {
namespace {

class MetricsLogTest : public testing::Test {
 protected:
  std::string text() const { return io::read_text_file(folder_ / "metrics.jsonl"); }

 private:
  const TemporaryFolder temporary_;

 protected:
  const std::filesystem::path folder_ = temporary_.path();
};

TEST_F(MetricsLogTest, WritesOneObjectAStep) {
  MetricsLog log(folder_, "pretrain", -1);
  log.append(
      1, {{"loss", 0.5}, {"tokens", 2304}, {"grad_norm", std::numeric_limits<double>::infinity()}});
  EXPECT_EQ(
      text(),
      "{\"step\":1,\"stage\":\"pretrain\",\"loss\":0.5,\"tokens\":2304,\"grad_norm\":null}\n");
  log.append(2, {{"loss", 1e-20}});
  EXPECT_EQ(nlohmann::json::parse(text().substr(text().find('\n') + 1))["loss"], 1e-20);
}

TEST_F(MetricsLogTest, IsCutBackToTheCheckpointsStep) {
  {
    MetricsLog log(folder_, "pretrain", -1);
    for (int64_t step = 1; step <= 5; ++step) log.append(step, {{"loss", 1.0}});
  }
  std::ofstream(folder_ / "metrics.jsonl", std::ios::app)
      << "{\"step\": 6, \"lo";  // killed while writing
  {
    MetricsLog log(folder_, "pretrain", 3);
    log.append(4, {{"loss", 2.0}});
  }
  std::istringstream lines(text());
  std::vector<double> steps, losses;
  for (std::string line; std::getline(lines, line);) {
    const auto object = nlohmann::json::parse(line);
    steps.push_back(object["step"]);
    losses.push_back(object["loss"]);
  }
  EXPECT_EQ(steps, (std::vector<double>{1, 2, 3, 4}));
  EXPECT_EQ(losses, (std::vector<double>{1, 1, 1, 2}));
}

TEST_F(MetricsLogTest, NewestFiguresComeFromTheLastLineThatHasThem) {
  EXPECT_TRUE(newest_metrics(folder_).empty());
  MetricsLog log(folder_, "pretrain", -1);
  log.append(1, {{"loss", 3.0}, {"validation_loss", 2.5}});
  log.append(2, {{"loss", 1.5}, {"grad_norm", std::numeric_limits<double>::infinity()}});
  const auto figures = newest_metrics(folder_);
  EXPECT_EQ(figures.at("loss"), 1.5);
  EXPECT_EQ(figures.at("validation_loss"), 2.5);
  EXPECT_EQ(figures.count("grad_norm"), 0u);
}

TEST_F(MetricsLogTest, AFreshRunStartsEmpty) {
  {
    MetricsLog(folder_, "pretrain", -1).append(1, {{"loss", 1.0}});
  }
  MetricsLog again(folder_, "pretrain", -1);
  EXPECT_EQ(text(), "");
}

TEST(Metrics, CountsDamagedLines) {
  int64_t dropped = 0;
  EXPECT_EQ(cut_back_metrics(
                "{\"step\":1}\nnonsense\n{\"loss\":1}\n{\"step\":\"a\"}\n{\"step\":2}\n{\"st",
                2,
                dropped),
            "{\"step\":1}\n{\"step\":2}\n");
  EXPECT_EQ(dropped, 4);
}

}  // namespace
}  // namespace vmla::trainer
