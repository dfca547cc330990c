// SPDX-License-Identifier: Apache-2.0
//
// What a model, a task or a verifier may write to take over the page that shows it. Each sets
// window.hit where it works.
#ifndef HONE_TESTS_SERVICES_VIEW_HOSTILE_TEXTS_H_
#define HONE_TESTS_SERVICES_VIEW_HOSTILE_TEXTS_H_

namespace hone::view {

inline constexpr const char* kHostileTexts[] = {
    "<script>window.hit=1</script>",
    "<img src=x onerror=\"window.hit=2\">",
    "<svg onload=window.hit=3>",
    "</pre></main><script>window.hit=4</script>",
    "<iframe srcdoc=\"<script>parent.hit=5</script>\"></iframe>",
    "<a href=\"javascript:window.hit=6\" autofocus onfocus=\"window.hit=6\">click</a>",
    "\"><input autofocus onfocus=window.hit=7>",
    "' onmouseover='window.hit=8",
    "<style>@import 'http://127.0.0.1:1/x.css';* { display: none }</style>",
    "<link rel=stylesheet href=\"data:text/css,body{display:none}\">",
    "<meta http-equiv=refresh content=\"0;url=javascript:window.hit=11\">",
    "<base href=\"http://127.0.0.1:1/\">",
    "<form action=\"javascript:window.hit=13\"><button>go</button></form>",
    "<math><mtext><img src=x onerror=window.hit=14></mtext></math>",
    "<template><script>window.hit=15</script></template><details open ontoggle=window.hit=15>",
    "${window.hit=16}{{constructor.constructor('window.hit=16')()}}",
    "\\u003cscript\\u003ewindow.hit=17\\u003c/script\\u003e "
    "&lt;script&gt;window.hit=17&lt;/script&gt;",
    "</script><script>window.hit=18</script><!--",
    "\xe2\x80\xaegnp.exe\xe2\x80\xac \xe2\x80\x8b\xe2\x80\x8d\xef\xbb\xbf \x1b[2J\x07 \xc2\x85",
    "data:text/html,<script>window.hit=20</script> vbscript:msgbox(1)",
    "__proto__ constructor toString <object data=x onerror=window.hit=21>",
    "<video><source onerror=window.hit=22></video><body onload=window.hit=22>",
};

}  // namespace hone::view

#endif  // HONE_TESTS_SERVICES_VIEW_HOSTILE_TEXTS_H_
