//! What an engine's own words say: what stopped it, and which kernel it took.

use kit::workspace::root;

/// What is read in an engine's words.
#[derive(Debug, Default, PartialEq)]
pub struct Said {
    /// What stopped the engine; `None` if nothing did.
    pub reason: Option<String>,
    /// The line that names the kernel of the checkpoint's layers.
    pub kernel: Option<String>,
    /// All lines, those of the error last.
    pub log: Vec<String>,
}

/// Reads the `log` of an engine, and the `error` with which the engine stopped. This machine's folders
/// are left out.
pub fn said(mut log: Vec<String>, error: Option<&str>) -> Said {
    log.extend(error.iter().flat_map(|error| error.lines()).map(String::from));
    log.iter_mut().for_each(without_folders);
    let mut reason = error.map(reason_of).map(String::from);
    reason.iter_mut().for_each(without_folders);
    let kernel = kernel_of(&log).filter(|_| reason.is_none()).map(String::from);
    Said { reason, kernel, log }
}

/// The exception, because it tells more than the status around it; else the first line.
fn reason_of(error: &str) -> &str {
    let exception = error.lines().map(str::trim).find(|line| line.contains("Error:"));
    exception.or(error.lines().next()).unwrap_or("no reason was told")
}

/// The last line that names a kernel, because the general lines come before that of the checkpoint's
/// layers.
fn kernel_of(log: &[String]) -> Option<&str> {
    log.iter().rev().map(String::as_str).find(|line| line.contains("Kernel"))
}

/// Leaves this machine's folders out of what an engine said.
fn without_folders(text: &mut String) {
    *text = text.replace(&format!("{}/", root().display()), "");
    if let Some(home) = std::env::var("HOME").ok().filter(|home| home.len() > 1) {
        *text = text.replace(&home, "~");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_exception_as_the_reason_and_the_rest_in_the_log() {
        let error = "status 500: EngineCore\nAttributeError: no cpu_gemm\n...\nend";
        let failed = said(vec!["Using XKernel for all".into()], Some(error));
        assert_eq!(failed.reason.as_deref(), Some("AttributeError: no cpu_gemm"));
        assert_eq!((failed.kernel, failed.log.len()), (None, 5));
        let served = said(vec!["AKernel".into(), "BKernel for layers".into(), "end".into()], None);
        assert_eq!((served.reason, served.log.len()), (None, 3));
        assert_eq!(served.kernel.as_deref(), Some("BKernel for layers"));
        let plain = said(Vec::new(), Some("no model\nat all")).reason;
        assert_eq!(plain.as_deref(), Some("no model"));
    }
}
