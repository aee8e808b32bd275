#include "trainer/telemetry/tensorboard.h"

#include <gtest/gtest.h>

#include <cstring>

#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::trainer {
namespace {

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

TEST(Tensorboard, Crc32cKnownAnswers) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);            // the check value of CRC-32C
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720, B.4
}

// By hand from event.proto and summary.proto: key bytes are field << 3 | wire type.
TEST(Tensorboard, EncodesAScalarEvent) {
  const std::string expected = from_hex(
      "09"
      "000000000000f83f"  // wall_time: 1.5
      "10"
      "ac02"  // step: 300
      "2a"
      "0d"  // summary, 13 bytes
      "0a"
      "0b"  //   value, 11 bytes
      "0a"
      "04"
      "6c6f7373"  //     tag: "loss"
      "15"
      "0000003f");  //     simple_value: 0.5f
  EXPECT_EQ(scalar_event(1.5, 300, "loss", 0.5f), expected);
}

// Likewise; the fields of an image are height, width, colours, file.
TEST(Tensorboard, EncodesAnImageEvent) {
  const std::string expected = from_hex(
      "09000000000000f83f"
      "1003"          // step: 3
      "2a13"          // summary, 19 bytes
      "0a11"          //   value, 17 bytes
      "0a0161"        //     tag: "a"
      "220c"          //     image, 12 bytes
      "0810"          //       height: 16
      "108001"        //       width: 128
      "1803"          //       colours: RGB
      "2203474946");  //   file: "GIF"
  EXPECT_EQ(image_event(1.5, 3, "a", {.width = 128, .height = 16, .bytes = "GIF"}), expected);
}

TEST(Tensorboard, EncodesACurveAsBarsOverItsIndex) {
  const std::string expected = from_hex(
      "09000000000000f83f"
      "1003"
      "2a58"                                    // summary, 88 bytes
      "0a56"                                    //   value, 86 bytes
      "0a0161"                                  //     tag: "a"
      "2a51"                                    //     histogram, 81 bytes
      "09000000000000e03f"                      // min: 0.5
      "110000000000000440"                      // max: 2.5
      "19000000000000f83f"                      // num: 1 + 0.5
      "210000000000000040"                      // sum: 1 * 1 + 2 * 0.5
      "290000000000000840"                      // sum of squares: 1 + 4 * 0.5
      "3210000000000000f83f0000000000000440"    // right edges: 1.5, 2.5
      "3a10000000000000f03f000000000000e03f");  // bars: 1, 0.5
  EXPECT_EQ(curve_event(1.5, 3, "a", {1, 0.5}), expected);
}

TEST(Tensorboard, FramesARecord) {
  const std::string record = tfrecord("abc");
  ASSERT_EQ(record.size(), 8u + 4 + 3 + 4);
  EXPECT_EQ(record.substr(0, 8), from_hex("0300000000000000"));
  EXPECT_EQ(record.substr(12, 3), "abc");
  uint32_t length_crc = 0, data_crc = 0;
  std::memcpy(&length_crc, record.data() + 8, 4);
  std::memcpy(&data_crc, record.data() + 15, 4);
  const auto unmask = [](uint32_t masked) {
    const uint32_t rotated = masked - 0xA282EAD8u;
    return (rotated >> 17) | (rotated << 15);
  };
  EXPECT_EQ(unmask(length_crc), crc32c(record.substr(0, 8)));
  EXPECT_EQ(unmask(data_crc), crc32c("abc"));
}

TEST(Tensorboard, WritesAFileOfWholeRecords) {
  const TemporaryFolder folder;
  const auto dir = folder / "made";
  TensorboardWriter first(dir), second(dir);
  EXPECT_NE(first.file(), second.file());
  EXPECT_NE(first.file().filename().string().find("tfevents"), std::string::npos);
  first.restart_at(7);
  first.scalar("loss", 7, 0.25);
  first.flush();
  const std::string bytes = file_bytes(first.file());
  size_t at = 0;
  std::vector<std::string> events;
  while (at < bytes.size()) {
    uint64_t length = 0;
    std::memcpy(&length, bytes.data() + at, 8);
    events.push_back(bytes.substr(at + 12, length));
    EXPECT_EQ(tfrecord(events.back()), bytes.substr(at, length + 16));
    at += length + 16;
  }
  ASSERT_EQ(events.size(), 3u);
  EXPECT_NE(events[0].find("brain.Event:2"), std::string::npos);
  EXPECT_EQ(events[1].substr(9),
            from_hex("10"
                     "07"
                     "3a"
                     "02"
                     "0801"));  // step 7, session_log {START}
  EXPECT_NE(events[2].find("loss"), std::string::npos);
}

TEST(Tensorboard, NamesAFolderItCannotMake) {
  try {
    TensorboardWriter writer("/proc/vmla_no_such_folder");
    FAIL() << "no error";
  } catch (const RunError& error) {
    EXPECT_NE(std::string(error.what()).find("/proc/vmla_no_such_folder"), std::string::npos);
  }
}

}  // namespace
}  // namespace vmla::trainer
