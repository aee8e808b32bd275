#include "analysis/report/report.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "analysis/rank/rank_log.h"
#include "analysis/report/stage_lines.h"
#include "analysis/runs/run_reading.h"
#include "data/synth/moving_shapes.h"
#include "data/video/video_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/format.h"
#include "tests/support/temporary_folder.h"

namespace vmla::analysis {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// Run folders with a file of every kind.
class ReportTest : public testing::Test {
 protected:
  void write(const std::filesystem::path& file, const std::string& text) const {
    const std::filesystem::path path = folder_.path() / file;
    std::filesystem::create_directories(path.parent_path());
    write_bytes(path, text);
  }
  std::string page(const std::string& run = "") const {
    return io::read_text_file(folder_.path() / run / "report.html");
  }
  std::vector<RunContents> read_stages(const std::vector<std::string>& names) const {
    std::vector<RunContents> stages;
    for (const std::string& name : names) stages.push_back(read_run(folder_ / name));
    return stages;
  }

  // Two measurements of one layer.
  void write_ranks(const std::filesystem::path& run, int64_t last_step, bool with_null) const {
    LayerRank layer{4, {4, 2, 1, 0.5}, {}};
    layer.effective = effective_rank(layer.spectrum);
    RankLog ranks("svd_weight");
    if (with_null) ranks.set_nulls({.product = {layer}});
    ranks.append(0, {layer});
    ranks.append(last_step, {layer});
    ranks.write(folder_.path() / run / "rank.h5");
  }

  // A distilled stage behind `parent`: a critic, long rollouts, ranks after a number of steps.
  void write_student(const std::filesystem::path& run, const std::string& parent) const {
    write(run / "config.yaml",
          formatted(R"(stage: {}
model: {{attention: mla, kv_lora_rank: 4}}
sample: {{sampler: few_step}}
objective: {{name: dmd, dmd: {{denoising_step_list: [1000, 750, 500, 250]}}}}
init_from: {{generator: {{stage: {}}}}}
)",
                    run.string(),
                    parent));
    std::string lines;
    for (int step = 1; step <= 80; ++step) {
      // The critic is updated at every step, the generator at every fifth.
      const bool both = step % 5 == 1;
      lines += formatted(R"({{"step":{},"loss_fake_score":0.5,"grad_norm_fake_score":{}{}}})",
                         step,
                         step == 70 ? "90" : "1",
                         both ? R"(,"loss":0.25,"grad_norm":1,"dmd_gradient_norm":0.125)" : "") +
               "\n";
    }
    write(run / "metrics.jsonl", lines);
    write(run / "summary.json", R"({
      "adherence": {"clips": 12, "colour": 1.0, "shape": 0.5, "direction": 0.75},
      "drift": {
        "clips": 12, "frames": 18, "window_frames": 9, "windows": 2, "seconds": 2.25,
        "score": 2.5, "shift": 1.75, "within_band": false, "real_score": 0.5,
        "motion_share_last": 0.625,
        "adherence": {"colour": [1, 0.5], "direction": [1, 0.75], "direction_last": 0.75},
        "figures": {"size": {"score": 2.5, "real_score": 0.5, "by_window": [0.3, 0.2],
                             "low": 0.25, "high": 0.4, "inside": false}}}})");
    write_ranks(run, 80, /*with_null=*/false);
  }

  // A stage that has ended: everything is there.
  void write_stage(const std::filesystem::path& run) const {
    write(run / "config.yaml", R"(stage: tf
model: {attention: mla, kv_lora_rank: 4}
objective: {name: teacher_forcing}
train: {steps: 2}
)");
    write(run / "metrics.jsonl",
          R"({"step":1,"loss":1.5,"grad_norm":2,"lr":0.1,"time_step":0.2,"time_forward":0.1,)"
          R"("validation_loss":1.25,"tokens_per_second":100})"
          "\n"
          R"({"step":2,"loss":0.5,"grad_norm":1,"lr":0.1,"time_step":0.2,"time_forward":0.1,)"
          R"("time_scores":0.05,)"
          R"("validation_loss":0.75,"tokens_per_second":100})"
          "\n");
    write(run / "summary.json", R"({
      "adherence": {"clips": 12, "colour": 0.917, "shape": 0.5, "direction": 0.833},
      "retention": {"clips": 12, "identification": 0.8},
      "without_cache": {"retention": {"clips": 12, "identification": 0.5}}})");
    write_ranks(run, 2, /*with_null=*/true);
    write_samples(run / "samples");
  }

  void write_samples(const std::filesystem::path& samples) const {
    const data::ClipSpec clip = data::draw_clip(3, 0, false, 9);
    const at::Tensor pixels = data::render_clips({clip}, 9, 16)[0];
    const std::string extension = data::default_video_extension();
    const std::filesystem::path newest = folder_.path() / samples / "step_2";
    std::filesystem::create_directories(newest);
    // Older: must not be shown.
    std::filesystem::create_directories(folder_.path() / samples / "step_1");
    data::write_video(newest / ("000" + extension), pixels, 8);
    data::write_video(newest / ("001" + extension), pixels, 8);
    write(samples / "step_2" / "samples.json",
          formatted(R"([{{"file": "000{}", "prompt": "{}", "frames": 9, "fps": 8}},
                        {{"file": "001{}", "prompt": "<b>bold</b>", "frames": 9, "fps": 8}},
                        {{"file": "../../config.yaml", "prompt": "outside"}}])",
                    extension,
                    data::caption_of(clip.what),
                    extension));
  }

  TemporaryFolder folder_;
};

TEST_F(ReportTest, ShowsEverythingAndLoadsNothing) {
  write_stage("");
  write_run_report(folder_.path());
  const std::string html = page();
  if (data::default_video_extension() == std::string(".mp4")) {
    EXPECT_THAT(html, HasSubstr("data:video/mp4;base64,"));
    EXPECT_THAT(html, HasSubstr("<video controls autoplay loop muted playsinline"));
    EXPECT_THAT(html, HasSubstr("✓ "));
    EXPECT_THAT(html, Not(HasSubstr("✗ ")));
    EXPECT_THAT(html, HasSubstr("&lt;b&gt;bold"));
  } else {  // browsers do not play .y4m
    EXPECT_THAT(html, HasSubstr("2 more in "));
  }
  EXPECT_THAT(html, HasSubstr("91.7 %"));
  EXPECT_THAT(html, HasSubstr("cache zeroed"));
  EXPECT_THAT(html, HasSubstr("fell from 1.25 to 0.75"));
  EXPECT_THAT(html, HasSubstr("random product"));
  EXPECT_THAT(html, Not(HasSubstr("<b>bold")));
  EXPECT_THAT(html, Not(HasSubstr("outside")));
  EXPECT_THAT(html, Not(HasSubstr("What is missing")));
  // Nothing is fetched: the only address is the SVG namespace.
  std::string rest = html;
  const std::string space = "http://www.w3.org/2000/svg";
  for (size_t at = rest.find(space); at != std::string::npos; at = rest.find(space))
    rest.erase(at, space.size());
  EXPECT_THAT(rest, Not(HasSubstr("http:")));
  EXPECT_THAT(rest, Not(HasSubstr("https:")));
  EXPECT_THAT(rest, Not(HasSubstr("<script")));
}

// A phase of one step in two has half of its time in a step.
TEST_F(ReportTest, ShowsWhatAPhaseTakesOfAnAverageStep) {
  write_stage("");
  write_run_report(folder_.path());
  EXPECT_THAT(page(),
              AllOf(HasSubstr("forward · 100 ms · 80 %"), HasSubstr("scores · 25 ms · 20 %")));
}

TEST_F(ReportTest, NamesWhatIsMissing) {
  write_run_report(folder_.path());  // an empty folder
  EXPECT_THAT(page(), HasSubstr("metrics.jsonl is missing"));
  EXPECT_THAT(page(), HasSubstr("No clip was sampled"));
  write("metrics.jsonl", "{\"step\":1,\"loss\":1.0}\n{\"step\":2,\"lo");  // cut off
  write("rank.h5", "damaged");
  write("summary.json", "{");
  write("config.yaml", "a: [");
  write_run_report(folder_.path());
  EXPECT_THAT(page(), HasSubstr("1 damaged lines"));
  EXPECT_THAT(page(), HasSubstr("rank.h5: not a readable HDF5 file"));
  EXPECT_THAT(page(), HasSubstr("summary.json is damaged"));
  EXPECT_THAT(page(), HasSubstr("config.yaml cannot be read"));
  EXPECT_THAT(page(), HasSubstr("There was no validation"));
}

TEST_F(ReportTest, AStudentShowsItsPlayersItsHealthAndItsDrift) {
  write_student("", "tf");
  write_run_report(folder_.path());
  const std::string html = page();
  EXPECT_THAT(html, HasSubstr(">fake_score</text>"));
  EXPECT_THAT(html, HasSubstr("DMD gradient, mean size"));
  EXPECT_THAT(html, HasSubstr("grad_norm_fake_score jumped to 90 at step 70"));
  EXPECT_THAT(html, HasSubstr("Critic lag"));
  EXPECT_THAT(html, HasSubstr("drift above its band: the mean moves by 1.75 half widths"));
  EXPECT_THAT(html, HasSubstr("was not measured by this run"));  // an old summary
  EXPECT_THAT(html, HasSubstr("Drift over long videos"));
  EXPECT_THAT(html, HasSubstr("moves by 1.75 half widths"));
  EXPECT_THAT(html, HasSubstr("changes by up to 2.5 times"));
  EXPECT_THAT(html, HasSubstr("real clips</text>"));  // the band's legend
  EXPECT_THAT(html, HasSubstr("step 80"));            // the critic's steps, not the generator's
}

TEST_F(ReportTest, AShapeThatIsNotThereIsNotTicked) {
  write_stage("");
  // A shape of 2 x 2 of 16 pixels, in the right colour and direction, and footage.
  data::ClipSpec clip = data::draw_clip(3, 0, false, 9);
  clip.size = 0.125;
  const std::string extension = data::default_video_extension();
  const std::filesystem::path samples = folder_.path() / "samples" / "step_3";
  std::filesystem::create_directories(samples);
  data::write_video(samples / ("000" + extension), data::render_clips({clip}, 9, 16)[0], 8);
  write("samples/step_3/samples.json",
        formatted(R"([{{"file": "000{}", "prompt": "{}", "frames": 9, "fps": 8}}])",
                  extension,
                  data::caption_of(clip.what)));
  write_run_report(folder_.path());
  if (extension == ".mp4") {
    EXPECT_THAT(page(), Not(HasSubstr("✓ ")));
    EXPECT_THAT(page(), HasSubstr("✗ "));
  }
  EXPECT_THAT(page(), HasSubstr("The coloured border"));
}

TEST_F(ReportTest, FootageIsPromisedNoTicks) {
  write_stage("");
  write("samples/step_2/samples.json",
        formatted(R"([{{"file": "000{}", "prompt": "a rabbit", "frames": 9, "fps": 8}}])",
                  data::default_video_extension()));
  write_run_report(folder_.path());
  EXPECT_THAT(page(), Not(HasSubstr("ticked")));
  EXPECT_THAT(page(), Not(HasSubstr("The coloured border")));
}

TEST_F(ReportTest, SharesAreOfShapesThatAreThere) {
  write_stage("");
  write("summary.json", R"({
    "adherence": {"clips": 96, "colour": 1, "shape": 0.5, "direction": 1, "present": 0.25,
                  "colour_present": 0.2421875, "shape_present": 0.125, "direction_present": 0.21875,
                  "area": 0.375},
    "drift": {"shift": 0.5, "within_band": true, "score": 1, "clips": 4, "frames": 18,
              "window_frames": 9, "seconds": 2, "motion_share_last": 1,
              "area_share": [0.75, 0.03125],
              "adherence": {"present": [1, 0.125], "colour": [1, 1], "colour_present": [1, 0.125]}}})");
  write_run_report(folder_.path());
  const std::string html = page();
  EXPECT_THAT(html, HasSubstr("24.2 %"));
  EXPECT_THAT(html, HasSubstr("a shape is there from beginning to end in 25.0 % of the clips"));
  EXPECT_THAT(html, HasSubstr("in 12.5 % in the last"));
  EXPECT_THAT(html, HasSubstr("Area of what moves"));
  EXPECT_THAT(html, Not(HasSubstr("<td>100.0 %</td>")));  // right colour, of nothing
  EXPECT_THAT(html, Not(HasSubstr("drift above its band")));
}

TEST_F(ReportTest, AllPagesShowOneSpeed) {
  write_stage("tf");
  std::string lines;
  for (const int speed : {10, 300, 300, 300, 7000})  // the first step warms up, the last is short
    lines += formatted(R"({{"step":{},"loss":1,"tokens_per_second":{}}})", speed, speed) + "\n";
  write("tf/metrics.jsonl", lines);
  write_run_report(folder_ / "tf");
  write_pipeline_report(folder_.path());
  EXPECT_THAT(page("tf"), HasSubstr("<b>300</b><span>tokens a second, median"));
  EXPECT_THAT(page(), HasSubstr("<b>300</b><span>tokens a second, median"));
  EXPECT_THAT(page(), HasSubstr("<td>300</td>"));
  EXPECT_THAT(page(), Not(HasSubstr("<td>7000</td>")));
}

TEST_F(ReportTest, ThePipelineShowsTheLadderAndTheRanksOfAllStages) {
  write_stage("tf");
  write("tf/summary.json", R"({
    "adherence": {"clips": 12, "colour": 1, "shape": 0.5, "direction": 1},
    "few_step": {"adherence": {"clips": 12, "colour": 0.625, "shape": 0.5, "direction": 0.5}}})");
  write("tf/config.yaml", R"(stage: tf
model: {attention: mla}
objective: {name: teacher_forcing}
sample: {sampler: euler, steps: 16, guidance_scale: 1, also_few_step: [1000, 750, 500, 250]}
)");
  write_student("dmd", "tf");
  write("summary.json", R"({"stages": {"tf": {}, "dmd": {}}})");
  EXPECT_THAT(stage_lines(read_stages({"tf", "dmd"})), ElementsAre(ElementsAre(0, 1)));
  write_pipeline_report(folder_.path());
  const std::string html = page();
  EXPECT_THAT(html, HasSubstr("The ladder of distillation"));
  EXPECT_THAT(html, HasSubstr("16 passes"));
  EXPECT_THAT(html, HasSubstr("tf, forced to few steps</td><td>4 passes</td><td>–</td><td>62.5 %"));
  EXPECT_THAT(html, HasSubstr(">teacher forcing</text>"));  // marks on the axis of all stages
  EXPECT_THAT(html, HasSubstr(">dmd</text>"));
}

TEST_F(ReportTest, StagesThatNameEachOtherInACircleEnd) {
  write_student("a", "b");
  write_student("b", "a");
  write_student("c", "a");
  EXPECT_EQ(stage_lines(read_stages({"a", "b", "c"})).size(), 1u);
}

TEST_F(ReportTest, ComparesTheStagesOfAPipeline) {
  write_stage("svd");
  write_stage("random");
  write("summary.json", R"({"stages": {"svd": {}, "random": {}}})");
  EXPECT_THAT(stage_names(folder_.path()), ElementsAre("svd", "random"));
  write_pipeline_report(folder_.path());
  const std::string html = page();
  EXPECT_THAT(html, HasSubstr("href=\"svd/report.html\""));
  EXPECT_THAT(html, HasSubstr("Training loss · teacher forcing"));
  EXPECT_THAT(html, HasSubstr("Spectra at the last step · random"));
}

/// Shapes on a dark ground ask too little of the cache; the mosaic is there to ask more.
TEST_F(ReportTest, PointsToTheLaboratoryWhereShapesCannotShowTheRank) {
  const auto page_of = [&](const std::string& data) {
    write_stage("svd");
    std::ofstream(folder_.path() / "svd/config.yaml", std::ios::app) << data;
    write("summary.json", R"({"stages": {"svd": {}}})");
    write_pipeline_report(folder_.path());
    return page();
  };
  const std::string shapes = page_of("data: {make: {synth_count: 8}}\n");
  EXPECT_THAT(shapes, HasSubstr("What these curves cannot show"));
  EXPECT_THAT(shapes, HasSubstr("docs/reproduce.md"));
  EXPECT_THAT(page_of("data: {make: {synth_count: 8, scene: mosaic}}\n"),
              Not(HasSubstr("cannot show")));
}

TEST_F(ReportTest, APipelineThatHasNotStartedHasAPageToo) {
  write_pipeline_report(folder_.path());
  EXPECT_THAT(page(), HasSubstr("No stage has started yet"));
}

}  // namespace
}  // namespace vmla::analysis
