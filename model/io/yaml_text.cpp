#include "model/io/yaml_text.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <sstream>

#include "model/io/error.h"
#include "model/io/utf8.h"

namespace vmla::io {
namespace {

// Sections nest four deep. The limit also ends the walk of an anchor that contains itself.
constexpr int kDeepest = 32;
// What a small text may become: enough for every anchor that is written to save typing.
constexpr size_t kFewValues = 10'000;

/// Where in a text a message points at; a text of one line (--set) needs no number.
std::string place(const std::string& text, const std::string& name, int line) {
  return line < 0 || text.find('\n') == std::string::npos ? name
                                                          : formatted("{}:{}", name, line + 1);
}

/// Walks a document as its reader will, aliases expanded, and stops at the limits.
class SizeCheck {
 public:
  SizeCheck(const std::string& text, const std::string& name)
      : most_(std::max(kFewValues, text.size())), text_(text), name_(name) {}

  void walk(const YAML::Node& node, int depth) {
    if (depth > kDeepest) {
      fail_user(
          "{}: nested more than {} levels deep", place(text_, name_, node.Mark().line), kDeepest);
    }
    if (++values_ > most_) {
      fail_user(
          "{}: its anchors (&) and aliases (*) expand to more than {} values; write out what is "
          "meant",
          place(text_, name_, node.Mark().line),
          most_);
    }
    if (node.IsScalar()) {
      // An escape ("\0") may have made one that the text itself does not show.
      if (node.Scalar().find('\0') != std::string::npos)
        fail_user("{}: a text with a zero byte; remove it", place(text_, name_, node.Mark().line));
    } else if (node.IsSequence()) {
      for (const auto& item : node) walk(item, depth + 1);
    } else if (node.IsMap()) {
      for (const auto& entry : node) {
        walk(entry.first, depth + 1);
        walk(entry.second, depth + 1);
      }
    }
  }

 private:
  size_t most_, values_ = 0;
  const std::string& text_;
  const std::string& name_;
};

/// Counts documents, and keeps nothing of them.
struct DocumentCount : YAML::EventHandler {
  size_t documents = 0;
  YAML::Mark last;
  void OnDocumentStart(const YAML::Mark& mark) override {
    ++documents;
    last = mark;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&,
                const std::string&,
                YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&,
                       const std::string&,
                       YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&,
                  const std::string&,
                  YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

/// yaml-cpp takes a comma or a bracket that nothing has opened for an empty document, and stays at
/// it: documents without end. A document begins with a byte of its own, so more of them than bytes
/// are such a loop.
void check_that_documents_end(const std::string& text, const std::string& name) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  DocumentCount count;
  while (parser.HandleNextDocument(count)) {
    if (count.documents > text.size() + 1) {
      fail_user("{}: not valid yaml: a comma or bracket that belongs to no list; quote the text",
                place(text, name, count.last.line));
    }
  }
}

}  // namespace

std::vector<YAML::Node> parse_yaml_documents(const std::string& text, const std::string& name) {
  if (const auto bad = first_bad_text_byte(text)) {
    const auto line = std::count(text.begin(), text.begin() + static_cast<long>(*bad), '\n');
    fail_user("{}: byte 0x{:02x} is {}; save the text as UTF-8",
              place(text, name, static_cast<int>(line)),
              static_cast<unsigned char>(text[*bad]),
              text[*bad] == '\0' ? "no text" : "no UTF-8");
  }
  try {
    check_that_documents_end(text, name);
    std::vector<YAML::Node> documents = YAML::LoadAll(text);
    SizeCheck check(text, name);
    for (const YAML::Node& document : documents) check.walk(document, 0);
    return documents;
  } catch (const YAML::Exception& error) {
    fail_user("{}: not valid yaml: {}", place(text, name, error.mark.line), error.msg);
  }
}

}  // namespace vmla::io
