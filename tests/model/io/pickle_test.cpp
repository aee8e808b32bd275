#include "model/io/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/io/error.h"

namespace vmla::io {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::HasSubstr;

std::string problem_with(const std::string& bytes) {
  try {
    parse_pickle(bytes, "w.pt");
  } catch (const UserError& problem) {
    EXPECT_THAT(problem.what(), HasSubstr("w.pt: "));
    return problem.what();
  }
  return {};
}

/// ('storage', torch.FloatStorage, '0', 'cpu', 6), as torch.save writes it.
const std::string kStorage =
    "(X\x07\0\0\0storage"s + "ctorch\nFloatStorage\n" + "X\x01\0\0\0"s + "0X\x03\0\0\0cpuK\x06tQ"s;

TEST(Pickle, ReadsValuesOfEveryKind) {
  // [None, True, -5, 70000, 2^40, 2^70, 1.5, "a", b"b", {"k": ()}, set()]
  const std::string bytes = "\x80\x04]("s + "N\x88" + "J\xfb\xff\xff\xff" + "J\x70\x11\x01\0"s +
                            "\x8a\x06\0\0\0\0\0\x01"s + "\x8a\x09\0\0\0\0\0\0\0\0\x40"s +
                            "G\x3f\xf8\0\0\0\0\0\0"s + "\x8c\x01" + "a" + "C\x01" + "b" +
                            "}\x8c\x01k)s" + "\x8f" + "e.";
  const Pickle pickle = parse_pickle(bytes, "w.pt");
  const auto& items = pickle.values[pickle.root].items();
  std::vector<PickleKind> kinds;
  for (const PickleId id : items) kinds.push_back(pickle.values[id].kind);
  EXPECT_THAT(kinds,
              ElementsAre(PickleKind::none,
                          PickleKind::boolean,
                          PickleKind::integer,
                          PickleKind::integer,
                          PickleKind::integer,
                          PickleKind::other,
                          PickleKind::real,
                          PickleKind::text,
                          PickleKind::other,
                          PickleKind::dict,
                          PickleKind::other));
  EXPECT_EQ(pickle.values[items[2]].integer(), -5);
  EXPECT_EQ(pickle.values[items[3]].integer(), 70000);
  EXPECT_EQ(pickle.values[items[4]].integer(), int64_t{1} << 40);
  EXPECT_EQ(std::get<double>(pickle.values[items[6]].content), 1.5);
  EXPECT_EQ(pickle.values[items[7]].text(), "a");
}

TEST(Pickle, ReadsTensorsWithoutRunningAnything) {
  const std::string bytes = "\x80\x02"s + "ctorch._utils\n_rebuild_tensor_v2\n(" + kStorage +
                            "K\x01K\x02K\x01\x86K\x02K\x05\x86\x89" +
                            "ccollections\nOrderedDict\n)RtR.";
  const Pickle pickle = parse_pickle(bytes, "w.pt");
  const PickledTensor& tensor = pickle.tensor(pickle.values[pickle.root]);
  EXPECT_EQ(tensor.type.name, "float32");
  EXPECT_EQ(tensor.storage.key, "0");
  EXPECT_EQ(tensor.storage.count, 6u);
  EXPECT_EQ(tensor.offset, 1u);
  EXPECT_THAT(tensor.shape, ElementsAre(2, 1));
  EXPECT_THAT(tensor.stride, ElementsAre(2, 5));
}

TEST(Pickle, RefusesWhatIsNoDictOfTensors) {
  EXPECT_THAT(problem_with(""), HasSubstr("truncated"));
  EXPECT_THAT(problem_with("\x80\x02."), HasSubstr("a value is missing"));
  EXPECT_THAT(problem_with("\x80\x02N"), HasSubstr("truncated"));
  EXPECT_THAT(problem_with("\x80\x02X\xff\xff\xff\xff"), HasSubstr("truncated"));
  EXPECT_THAT(problem_with("\x80\x02t."), HasSubstr("a mark is missing"));
  EXPECT_THAT(problem_with("\x80\x02h\x05."), HasSubstr("the memo has no 5"));
  EXPECT_THAT(problem_with("\x80\x02}Ns."), HasSubstr("a value is missing"));
  EXPECT_THAT(problem_with("\x80\x02)Na."), HasSubstr("no list or dict"));
  EXPECT_THAT(problem_with("\x80\x02NN\x86Q."), HasSubstr("persistent id"));
  EXPECT_THAT(problem_with("\x80\x02N)R."), HasSubstr("of another kind"));
  EXPECT_THAT(problem_with("\x80\x02"
                           "ctorch\nFloatStorage\n)R."),
              HasSubstr("is called"));
  EXPECT_THAT(problem_with("\x80\x02"
                           "cbuiltins\neval\n."),
              HasSubstr("'builtins.eval'"));
  EXPECT_THAT(problem_with("\x80\x04\x8c\x02os\x8c\x06system\x93."), HasSubstr("'os.system'"));
  EXPECT_THAT(problem_with(std::string((16u << 20) + 1, 'N')), HasSubstr("no dict of tensors"));
}

}  // namespace
}  // namespace vmla::io
